// Package windows holds what makes the agent's installer for Windows, and its tests.
package windows
