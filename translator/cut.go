package translator

import "fmt"

// cutter cuts chains of a function that are too long into pieces, which become functions of their own.
type cutter struct {
	*division
	f     *function
	block *block // the chain that is being cut
	n     int    // pieces so far
}

// fit cuts steps until those that stay weigh no more than a piece may.
func (c *cutter) fit(steps []*step) []*step {
	if c.weigh(steps) <= c.piece {
		return steps
	}
	for _, s := range steps {
		if s.fork != nil && c.weighStep(s) > c.piece {
			c.group(s.fork)
		}
		if s.classifier != nil && c.weighStep(s) > c.piece {
			c.spread(s.classifier.inline())
		}
	}
	if c.weigh(steps) <= c.piece {
		return steps
	}
	var calls []*step
	for _, part := range c.cut(steps) {
		calls = append(calls, c.run(part))
	}
	return calls
}

// cut divides steps into runs that are not too heavy.
func (c *cutter) cut(steps []*step) [][]*step {
	var out [][]*step
	from, weight := 0, 0
	for i, s := range steps {
		w := c.weighStep(s)
		if i > from && weight+w > c.piece {
			out = append(out, steps[from:i])
			from, weight = i, 0
		}
		weight += w
	}
	return append(out, steps[from:])
}

// group puts neighbouring branches of a fork into pieces. A branch that is cut itself stays where it is.
func (c *cutter) group(f *fork) {
	var out []branch
	from, weight := 0, 0
	flush := func(to int) {
		if from < to {
			part := *f
			part.branches = f.branches[from:to]
			out = append(out, branch{part.branches[0].from, part.branches[len(part.branches)-1].to, []*step{c.run([]*step{{verb: verbFork, fork: &part}})}})
		}
		from, weight = to, 0
	}
	for i, b := range f.branches {
		w := 3 + c.weigh(b.steps)
		if weight+w > c.piece {
			flush(i)
		}
		if w > c.piece {
			out = append(out, branch{b.from, b.to, c.fit(b.steps)})
			from = i + 1
			continue
		}
		weight += w
	}
	flush(len(f.branches))
	f.branches = out
}

// spread puts stops that have much code into pieces.
func (c *cutter) spread(stops []stop) {
	for i, st := range stops {
		if c.weighStep(st.step) > 16 {
			stops[i].step = c.run([]*step{st.step})
		}
	}
}

// run makes a piece of steps, and a step that runs it.
func (c *cutter) run(part []*step) *step {
	c.n++
	piece := &function{
		name: fmt.Sprintf("%s_%d", c.f.name, c.n), doc: fmt.Sprintf("chain %s, part %d", c.block.chain.Key(), c.n),
		entry: []*block{c.block}, part: part,
	}
	c.plan.functions = append(c.plan.functions, piece)
	return &step{verb: verbRun, piece: piece}
}
