package command

// Judge makes a result of what a program that ended left.
var Judge = judge //nolint:gochecknoglobals // for tests alone
