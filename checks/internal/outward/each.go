package outward

import "sync"

// atOnce is how many subjects of one run are tested at a time.
const atOnce = 8

// Each calls f with 0 to n-1, a few at a time, and returns when all are done.
func Each(n int, f func(i int)) {
	var wg sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for i := range n {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			f(i)
		})
	}
	wg.Wait()
}

// Rounds is how many times as long as a single one n subjects take at most.
func Rounds(n int) int { return (n + atOnce - 1) / atOnce }
