package agent

import "os"

// ownFolder has nothing to refuse: folders grant rights there, whoever owns them.
func ownFolder(string) error { return nil }

// sameOwner does nothing: a new file has the access list of its folder.
func sameOwner(os.FileInfo, *os.File) error { return nil }
