package policies

// Test is one [[test]] of a policy.
type Test struct{ Name string }

func (p *parser) readTests(top table) {}
