package rules

import (
	"fmt"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/wacht-io/wacht/checks"
)

// sizes are the constants that conditions may use.
var sizes = map[string]float64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

func (c *compiler) num(n ast.Node) (*num, error) {
	defer c.leave()
	if err := c.enter(); err != nil {
		return nil, err
	}
	v, err := c.numNode(n)
	if err != nil {
		return nil, err
	}
	v.text = n.String()
	return v, nil
}

func (c *compiler) numNode(n ast.Node) (*num, error) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return &num{op: opConst, k: float64(n.Value)}, nil
	case *ast.FloatNode:
		return &num{op: opConst, k: n.Value}, nil
	case *ast.IdentifierNode:
		return c.variable(n)
	case *ast.MemberNode:
		return c.member(n)
	case *ast.UnaryNode:
		return c.sign(n)
	case *ast.BinaryNode:
		return c.arithmetic(n)
	case *ast.BuiltinNode:
		return c.function(n.Name, n.Arguments)
	case *ast.CallNode:
		return c.call(n)
	case *ast.ConditionalNode:
		return c.conditionalNum(n)
	}
	return nil, fmt.Errorf("%s is not a number", n)
}

func (c *compiler) variable(n *ast.IdentifierNode) (*num, error) {
	if k, ok := sizes[n.Value]; ok {
		return &num{op: opConst, k: k, unit: "bytes"}, nil
	}
	m, err := c.metric(n.Value)
	if err != nil {
		return nil, err
	}
	if len(m.Labels) > 0 {
		return nil, needsKey(m, n.Value)
	}
	return &num{op: opMetric, metric: m, unit: m.Unit}, nil
}

func needsKey(m *checks.MetricSpec, text string) error {
	key := strings.Join(m.Labels, ",")
	return fmt.Errorf(`%s has one value for each %s: say which, as in %s["%s"], or take min(%s), max(%s) or sum(%s)`,
		m.Name, key, text, key, m.Name, m.Name, m.Name)
}

// member compiles metric["label values"] and prev("metric")["label values"].
func (c *compiler) member(n *ast.MemberNode) (*num, error) {
	key, ok := n.Property.(*ast.StringNode)
	if !ok || n.Optional || n.Method {
		return nil, fmt.Errorf(`%s: a value of a metric with labels is taken by text in quotes, as in m["read"]`, n)
	}
	out := &num{op: opMetric, key: key.Value}
	var err error
	switch of := n.Node.(type) {
	case *ast.IdentifierNode:
		out.metric, err = c.metric(of.Value)
	case *ast.CallNode:
		out.op = opPrev
		out.metric, err = c.previous(of)
	default:
		err = fmt.Errorf("%s is not a metric", n.Node)
	}
	if err != nil {
		return nil, err
	}
	out.unit = out.metric.Unit
	if got, want := strings.Count(key.Value, ",")+1, len(out.metric.Labels); want == 0 {
		return nil, fmt.Errorf("%s has no labels: leave out [%q]", out.metric.Name, key.Value)
	} else if got < want {
		return nil, fmt.Errorf("%s has the labels %s: %q gives %d of %d values", out.metric.Name,
			strings.Join(out.metric.Labels, ","), key.Value, got, want)
	}
	return out, nil
}

func (c *compiler) sign(n *ast.UnaryNode) (*num, error) {
	v, err := c.num(n.Node)
	switch {
	case err != nil:
		return nil, err
	case n.Operator == "+":
		return v, nil
	case n.Operator == "-":
		return &num{op: opMinus, args: []*num{{op: opConst}, v}, unit: v.unit}, nil
	}
	return nil, fmt.Errorf("%s is not a number", n)
}

var numOps = map[string]op{
	"+": opPlus, "-": opMinus, "*": opTimes, "/": opDivide, "%": opModulo, "**": opPower, "^": opPower,
}

func (c *compiler) arithmetic(n *ast.BinaryNode) (*num, error) {
	o, ok := numOps[n.Operator]
	if !ok {
		return nil, fmt.Errorf("%s is not a number", n)
	}
	a, b, err := both(c.num, n.Left, n.Right)
	if err != nil {
		return nil, err
	}
	return &num{op: o, args: []*num{a, b}, unit: unitOf(o, a, b)}, nil
}

// unitOf says what a result of arithmetic counts, as far as it can be told.
func unitOf(o op, a, b *num) string {
	switch {
	case o == opPower || o == opModulo:
		return ""
	case o == opDivide && a.unit == b.unit:
		return ""
	case o == opTimes && (a.unit == "" || a.op == opConst && a.k == 0 || a.unit == "ratio"):
		return b.unit
	case o == opTimes && b.unit != "" && b.unit != "ratio":
		return ""
	case o == opDivide && b.unit != "" && b.unit != "ratio":
		return ""
	case a.unit == "":
		return b.unit
	}
	return a.unit
}

// function compiles min and max of several numbers or of all values of a metric
// with labels, sum of the latter, and abs.
func (c *compiler) function(name string, args []ast.Node) (*num, error) {
	switch {
	case (name == "min" || name == "max" || name == "sum") && len(args) == 1:
		return c.overLabels(name, args[0])
	case (name == "min" || name == "max") && len(args) > 1:
		return c.extreme(map[string]op{"min": opMin, "max": opMax}[name], args)
	case name == "abs" && len(args) == 1:
		v, err := c.num(args[0])
		if err != nil {
			return nil, err
		}
		return &num{op: opAbs, args: []*num{v}, unit: v.unit}, nil
	}
	return nil, fmt.Errorf(
		`%s can't be used so; the functions are min(a, b), max(a, b), abs(a), sum(m), prev("m") and rising("m", "24h")`, name)
}

func (c *compiler) extreme(o op, args []ast.Node) (*num, error) {
	out := &num{op: o}
	for _, a := range args {
		v, err := c.num(a)
		if err != nil {
			return nil, err
		}
		out.args = append(out.args, v)
		if out.unit == "" {
			out.unit = v.unit
		}
	}
	return out, nil
}

var overOps = map[string]op{"min": opMinOf, "max": opMaxOf, "sum": opSumOf}

func (c *compiler) overLabels(name string, arg ast.Node) (*num, error) {
	id, ok := arg.(*ast.IdentifierNode)
	if !ok {
		return nil, fmt.Errorf("%s(%s): one argument alone must be a metric with labels", name, arg)
	}
	m, err := c.metric(id.Value)
	if err != nil {
		return nil, err
	}
	if len(m.Labels) == 0 {
		return nil, fmt.Errorf("%s(%s): %s has no labels, so there is nothing to choose from", name, m.Name, m.Name)
	}
	return &num{op: overOps[name], metric: m, unit: m.Unit}, nil
}

func (c *compiler) call(n *ast.CallNode) (*num, error) {
	id, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || id.Value != "prev" {
		name := n.Callee.String()
		if ok && id.Value == "rising" {
			return nil, fmt.Errorf("%s is true or false, not a number", n)
		}
		return c.function(name, nil)
	}
	m, err := c.previous(n)
	if err != nil {
		return nil, err
	}
	if len(m.Labels) > 0 {
		return nil, needsKey(m, n.String())
	}
	return &num{op: opPrev, metric: m, unit: m.Unit}, nil
}

// previous reads prev("metric").
func (c *compiler) previous(n *ast.CallNode) (*checks.MetricSpec, error) {
	id, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || id.Value != "prev" || len(n.Arguments) != 1 {
		return nil, fmt.Errorf(`%s: write prev("metric") for the value of the run before`, n)
	}
	return c.metricNamed(n.Arguments[0])
}

func (c *compiler) conditionalNum(n *ast.ConditionalNode) (*num, error) {
	x, err := c.test(n.Cond)
	if err != nil {
		return nil, err
	}
	a, b, err := both(c.num, n.Exp1, n.Exp2)
	if err != nil {
		return nil, err
	}
	return &num{op: opIf, cond: x, args: []*num{a, b}, unit: a.unit}, nil
}
