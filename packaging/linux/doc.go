// Package linux is the packages for Linux, deb and rpm, in tests: what is in them, and
// how they fare in a Debian that is made and booted for it. build makes them.
package linux
