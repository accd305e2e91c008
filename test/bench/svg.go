package main

import (
	"cmp"

	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// plot is lines over the number of rules, both axes logarithmic.
type plot struct {
	file, title, x, y string
	lines             []line
}

type line struct {
	name   string
	points [][2]float64
}

// The drawing, in pixels.
const (
	plotWidth, plotHeight         = 760, 420
	plotLeft, plotRight           = 70, 210
	plotTop, plotBottom           = 40, 50
	plotLeast             float64 = 1 // what is less, as noise may be, is drawn here
)

// colours can be told apart by those who see few colours, too (after Okabe and Ito).
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000", "#8c564b", "#bcbd22"}

// add adds a point to the line of that name.
func (p *plot) add(name string, x, y float64) {
	for i := range p.lines {
		if p.lines[i].name == name {
			p.lines[i].points = append(p.lines[i].points, [2]float64{x, y})
			return
		}
	}
	p.lines = append(p.lines, line{name, [][2]float64{{x, y}}})
}

// decades are the powers of ten around all values of an axis.
func (p *plot) decades(axis int) (from, to float64) {
	from, to = math.Inf(1), math.Inf(-1)
	for _, l := range p.lines {
		for _, at := range l.points {
			v := math.Log10(max(at[axis], plotLeast))
			from, to = min(from, math.Floor(v)), max(to, math.Ceil(v))
		}
	}
	return from, max(to, from+1)
}

func (p *plot) svg() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/><text x="%d" y="22" font-size="15">%s</text>`+"\n", plotWidth, plotHeight, plotLeft, escape(p.title))
	x0, x1 := p.decades(0)
	y0, y1 := p.decades(1)
	x := func(v float64) float64 {
		return plotLeft + (math.Log10(max(v, plotLeast))-x0)/(x1-x0)*(plotWidth-plotLeft-plotRight)
	}
	y := func(v float64) float64 {
		return plotHeight - plotBottom - (math.Log10(max(v, plotLeast))-y0)/(y1-y0)*(plotHeight-plotTop-plotBottom)
	}
	for d := x0; d <= x1; d++ {
		at := x(math.Pow(10, d))
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", at, plotTop, plotHeight-plotBottom, at, plotHeight-plotBottom+18, thousands(math.Pow(10, d)))
	}
	for d := y0; d <= y1; d++ {
		at := y(math.Pow(10, d))
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", plotLeft, at, plotWidth-plotRight, plotLeft-6, at+4, thousands(math.Pow(10, d)))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (plotLeft+plotWidth-plotRight)/2, plotHeight-12, escape(cmp.Or(p.x, "rules")))
	fmt.Fprintf(&b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (plotTop+plotHeight-plotBottom)/2, escape(p.y))
	for i, l := range p.lines {
		l.draw(&b, i, x, y)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// draw draws a line and its name in the legend.
func (l line) draw(b *strings.Builder, i int, x, y func(float64) float64) {
	colour := colours[i%len(colours)]
	fmt.Fprintf(b, `<g fill="%s" stroke="%s"><polyline fill="none" stroke-width="2" points="`, colour, colour)
	for _, p := range l.points {
		fmt.Fprintf(b, "%.1f,%.1f ", x(p[0]), y(p[1]))
	}
	b.WriteString(`"/>`)
	for _, p := range l.points {
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3"/>`, x(p[0]), y(p[1]))
	}
	at := plotTop + 10 + 20*i
	fmt.Fprintf(b, `<path stroke-width="2" d="M%d %dh20"/></g><text x="%d" y="%d">%s</text>`+"\n", plotWidth-plotRight+15, at, plotWidth-plotRight+41, at+4, escape(l.name))
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}

func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plots are the plots that there are figures for.
func (r *Report) plots() (out []*plot) {
	programs := &plot{file: "programs.svg", title: "Programs alone: cost of a packet", y: "ns over a program that does nothing"}
	for _, p := range r.Programs {
		if p.State == "" && p.Rules > 0 && (p.Set == "acl" || p.Set == "fw" || p.Set == "ipc") && p.Hook == tc.name && (p.Traffic == "hot" || p.Traffic == "uniform") {
			programs.add(p.Set+", "+string(p.Traffic), float64(p.Rules), p.Nanoseconds)
		}
	}
	load := &plot{file: "load.svg", title: "Time to load rules", y: "ms"}
	for _, c := range r.Changes {
		load.add(c.Contender, float64(c.Rules), c.Load)
		load.add(c.Contender+", one rule more", float64(c.Rules), c.OneRule)
	}
	out = append(out, programs, load)
	for _, name := range r.scenarios() {
		p := &plot{file: "frames-" + strings.NewReplacer(", ", "-", " ", "-").Replace(name) + ".svg", title: name, y: "ns a frame over no firewall"}
		sizes := map[int]bool{}
		for _, f := range r.Frames {
			if f.Scenario != name || f.Not != "" || f.Contender == dropAll || f.Contender == nothing {
				continue
			}
			if f.Floor {
				p.y = "ns a frame over dropping all in XDP"
			}
			sizes[f.Rules] = true
			p.add(f.Contender, float64(f.Rules), f.Added)
		}
		if len(sizes) > 1 {
			out = append(out, p)
		}
	}
	out = append(out, r.blocklistPlots()...)
	kept := out[:0]
	for _, p := range out {
		if len(p.lines) > 0 {
			kept = append(kept, p)
		}
	}
	return kept
}
