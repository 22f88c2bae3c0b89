package host

// giveTo does nothing: files are their folder's owner's by inheritance.
func giveTo(string, string) error { return nil }
