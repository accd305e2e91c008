package policies

func (p *parser) lint(top table) {}
