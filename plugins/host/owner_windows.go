package host

import "os"

// giveTo does nothing: files are their folder's owner's by inheritance.
func giveTo(string, *os.File) error { return nil }
