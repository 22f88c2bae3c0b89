package agent

// ownFolder has nothing to refuse: folders grant rights there, whoever owns them.
func ownFolder(string) error { return nil }
