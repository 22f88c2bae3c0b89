//go:build unix && !linux

package sandbox

// limit does nothing: only Linux can bound a program that runs already.
func limit(int, Options) error { return nil }

// wait waits for the program, and kills what it left of its group.
func (g *group) wait() error {
	err := g.cmd.Wait()
	g.killLast()
	return err
}
