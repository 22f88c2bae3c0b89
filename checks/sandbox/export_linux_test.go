package sandbox

// Delegated and ControlGroups let tests make a control group of their own.
var (
	Delegated     = delegated
	ControlGroups = controlGroups
)

// Limits are the files, with their content, of a program's group where all controllers
// are.
func Limits(opts *ServiceOptions) map[string]string {
	out := map[string]string{}
	for _, l := range (&ControlGroup{controllers: controllers()}).limits(opts) {
		out[l.file] = l.text
	}
	return out
}
