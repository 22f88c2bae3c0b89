package sandbox

// GroupIn is a folder of control groups without controllers, as far as the tests need it.
func GroupIn(path string) *ControlGroup { return &ControlGroup{path} }
