//go:build !windows

package main

// systemCommands are the commands that only this system has.
func systemCommands() []command { return nil }
