package host

// FirstUser is the user that the first of the plugins has.
const FirstUser = firstUser

// WithUser gives a plugin of a test a user that no other program's test has.
func WithUser(p Plugin, number int) Plugin {
	p.number = number
	return p
}
