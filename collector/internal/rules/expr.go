package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"github.com/wacht-io/wacht/checks"
)

// maxExprBytes bounds a condition: what a person writes is far shorter, and a
// declaration may come from a stranger's agent.
const maxExprBytes = 4096

// condition is a condition as written, type-checked against the metrics of one
// check. The language is that of expr-lang, parsed by its parser; the types are few
// (numbers, truth values, status, role), and whatever has no meaning for them is
// refused here. It is evaluated by our own tree instead of expr's machine, which
// boxes every number: a collector judges a hundred thousand results a second.
type condition struct {
	text string
	root *test
}

// maxExprDepth bounds how deep a condition is nested. A sum of a hundred is a hundred
// deep, and writing each part of it out for people costs the cube of that.
const maxExprDepth = 100

// compiler turns the nodes of one condition into a tree.
type compiler struct {
	spec  *checks.Spec
	depth int
}

// enter goes one level deeper; leave comes back.
func (c *compiler) enter() error {
	if c.depth++; c.depth > maxExprDepth {
		return fmt.Errorf("it is nested deeper than %d", maxExprDepth)
	}
	return nil
}

func (c *compiler) leave() { c.depth-- }

// compile parses and type-checks a condition over the metrics of a check.
func compile(text string, spec *checks.Spec) (*condition, error) {
	if len(text) > maxExprBytes {
		return nil, fmt.Errorf("the condition has %d bytes; at most %d are allowed", len(text), maxExprBytes)
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q can't be read: %s", text, oneLine(err))
	}
	root, err := (&compiler{spec: spec}).test(tree.Node)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	return &condition{text: strings.Join(strings.Fields(text), " "), root: root}, nil
}

// oneLine takes the message of expr's error without its drawing of the place.
func oneLine(err error) string {
	if fe, ok := err.(*file.Error); ok { //nolint:errorlint // the parser gives its own type, unwrapped
		return fmt.Sprintf("%s at column %d", fe.Message, fe.Column+1)
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}

func (c *compiler) test(n ast.Node) (*test, error) {
	defer c.leave()
	if err := c.enter(); err != nil {
		return nil, err
	}
	switch n := n.(type) {
	case *ast.BoolNode:
		return &test{op: opConst, k: truth(n.Value)}, nil
	case *ast.UnaryNode:
		if n.Operator != "!" && n.Operator != "not" {
			return nil, notATest(n)
		}
		x, err := c.test(n.Node)
		if err != nil {
			return nil, err
		}
		return &test{op: opNot, x: x}, nil
	case *ast.BinaryNode:
		return c.binaryTest(n)
	case *ast.ConditionalNode:
		return c.conditionalTest(n)
	case *ast.CallNode:
		return c.rising(n)
	}
	return nil, notATest(n)
}

func notATest(n ast.Node) error {
	return fmt.Errorf("%s is no condition: compare it with something, as in %s > 0", n, n)
}

var testOps = map[string]op{
	"&&": opAnd, "and": opAnd, "||": opOr, "or": opOr,
	"<": opLess, "<=": opAtMost, ">": opMore, ">=": opAtLeast, "==": opEqual, "!=": opUnequal,
}

func (c *compiler) binaryTest(n *ast.BinaryNode) (*test, error) {
	o, known := testOps[n.Operator]
	switch {
	case n.Operator == "in" || isWord(n.Left) || isWord(n.Right):
		return c.words(n)
	case !known:
		return nil, fmt.Errorf("%s can't be used for a condition; use one of < <= > >= == != in && || ! instead", n.Operator)
	case o == opAnd || o == opOr:
		x, y, err := both(c.test, n.Left, n.Right)
		return &test{op: o, x: x, y: y}, err
	}
	a, b, err := both(c.num, n.Left, n.Right)
	return &test{op: o, a: a, b: b}, err
}

func both[T any](f func(ast.Node) (T, error), left, right ast.Node) (a, b T, err error) {
	if a, err = f(left); err == nil {
		b, err = f(right)
	}
	return a, b, err
}

func (c *compiler) conditionalTest(n *ast.ConditionalNode) (*test, error) {
	x, err := c.test(n.Cond)
	if err != nil {
		return nil, err
	}
	y, z, err := both(c.test, n.Exp1, n.Exp2)
	return &test{op: opIf, x: x, y: y, z: z}, err
}

// isWord says whether a node is text rather than a number: status, role or a literal.
func isWord(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.StringNode:
		return true
	case *ast.IdentifierNode:
		return n.Value == "status" || n.Value == "role"
	}
	return false
}

// words compiles a comparison of status or role with literals into the set of
// values for which it holds.
func (c *compiler) words(n *ast.BinaryNode) (*test, error) {
	name, literals, err := wordOperands(n)
	if err != nil {
		return nil, err
	}
	names, o := statusWords(), opStatus
	if name == "role" {
		names, o = roleWords(), opRole
	}
	t := &test{op: o}
	for _, l := range literals {
		at := slices.Index(names, l)
		if at < 0 {
			return nil, fmt.Errorf("%s is never %q; it is one of %s", name, l, strings.Join(names, ", "))
		}
		t.set |= 1 << at
	}
	t.named = t.set
	if n.Operator == "!=" {
		t.set = 1<<len(names) - 1 - t.set
	}
	return t, nil
}

func wordOperands(n *ast.BinaryNode) (name string, literals []string, err error) {
	left, right := n.Left, n.Right
	if _, literal := left.(*ast.StringNode); literal && n.Operator != "in" {
		left, right = right, left
	}
	id, ok := left.(*ast.IdentifierNode)
	if !ok || !isWord(id) {
		return "", nil, fmt.Errorf("%s: only status and role are compared with text", n)
	}
	switch r := right.(type) {
	case *ast.StringNode:
		if n.Operator == "==" || n.Operator == "!=" {
			return id.Value, []string{r.Value}, nil
		}
	case *ast.ArrayNode:
		if n.Operator != "in" {
			break
		}
		for _, e := range r.Nodes {
			s, ok := e.(*ast.StringNode)
			if !ok {
				return "", nil, fmt.Errorf("%s: the list after in holds text in quotes", n)
			}
			literals = append(literals, s.Value)
		}
		return id.Value, literals, nil
	}
	return "", nil, fmt.Errorf(`%s: %s is compared by == "…", != "…" or in ["…", "…"]`, n, id.Value)
}

func statusWords() []string {
	return []string{checks.OK.String(), checks.Warning.String(), checks.Critical.String(), checks.Unknown.String()}
}

func roleWords() []string { return []string{"server", "workstation"} }

// rising compiles rising("metric", "24h").
func (c *compiler) rising(n *ast.CallNode) (*test, error) {
	id, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || id.Value != "rising" {
		return nil, notATest(n)
	}
	if len(n.Arguments) != 2 {
		return nil, fmt.Errorf(`%s: rising takes a metric's name and a time, as in rising("errors_total", "24h")`, n)
	}
	m, err := c.metricNamed(n.Arguments[0])
	if err != nil {
		return nil, err
	}
	text, ok := n.Arguments[1].(*ast.StringNode)
	var d checks.Duration
	if !ok || d.UnmarshalText([]byte(text.Value)) != nil || d <= 0 {
		return nil, fmt.Errorf("%s: %s is not a time such as 30m, 24h or 7d, in quotes", n, n.Arguments[1])
	}
	return &test{op: opRising, a: &num{op: opMetric, metric: m}, within: d.D() / time.Millisecond}, nil
}

// metricNamed reads a metric's name given as text in quotes.
func (c *compiler) metricNamed(n ast.Node) (*checks.MetricSpec, error) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		return nil, fmt.Errorf("%s: a metric's name stands in quotes here", n)
	}
	return c.metric(s.Value)
}

func (c *compiler) metric(name string) (*checks.MetricSpec, error) {
	if m := c.spec.Metric(name); m != nil {
		return m, nil
	}
	names := make([]string, len(c.spec.Metrics))
	for i, m := range c.spec.Metrics {
		names[i] = m.Name
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("unknown metric %s: check %s has none", name, c.spec.Name)
	}
	return nil, fmt.Errorf("unknown metric %s; check %s has: %s", name, c.spec.Name, strings.Join(names, ", "))
}
