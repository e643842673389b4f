// What became of the connections and requests of a run.

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// summary is what -json prints.
type summary struct {
	ConnectionsOK     int            `json:"connections_ok"`
	ConnectionsFailed int            `json:"connections_failed"`
	RequestsOK        int            `json:"requests_ok"`
	RequestsFailed    int            `json:"requests_failed"`
	Moved             int            `json:"moved"`
	Bytes             int64          `json:"bytes"`
	ZeroRTT           int            `json:"zero_rtt"`
	Resumed           int            `json:"resumed"`
	Errors            map[string]int `json:"errors"`
	Bodies            map[string]int `json:"bodies"`
	SHA256            map[string]int `json:"sha256"`
	Milliseconds      int64          `json:"milliseconds"`
	Handshakes        latency        `json:"handshakes"`
	Requests          latency        `json:"requests"`
	HandshakeTimes    []int64        `json:"handshake_times,omitempty"` // in microseconds, sorted
}

// latency is in microseconds.
type latency struct {
	P50   int64 `json:"p50"`
	P99   int64 `json:"p99"`
	Worst int64 `json:"worst"`
}

type tally struct {
	mu                   sync.Mutex
	sum                  summary
	handshakes, requests []time.Duration
}

func newTally() *tally {
	return &tally{sum: summary{Errors: map[string]int{}, Bodies: map[string]int{}, SHA256: map[string]int{}}}
}

func (t *tally) connected(after time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.ConnectionsOK++
	t.handshakes = append(t.handshakes, after)
}

func (t *tally) refused() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.ConnectionsFailed++
}

func (t *tally) movedOn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.Moved++
}

func (t *tally) resumed(state quic.ConnectionState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if state.Used0RTT {
		t.sum.ZeroRTT++
	}
	if state.TLS.DidResume {
		t.sum.Resumed++
	}
}

// answered counts a request or stream that has ended, well or not.
func (t *tally) answered(octets int64, after time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.Bytes += octets
	if err != nil {
		t.sum.RequestsFailed++
		return
	}
	t.sum.RequestsOK++
	t.requests = append(t.requests, after)
}

// answer counts what an answer said, if it is wanted.
func (t *tally) answer(o *options, text string, size int64, sha256 string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.bodies && size <= shortAnswer {
		t.sum.Bodies[text]++
	}
	if o.digests {
		t.sum.SHA256[sha256]++
	}
}

// failed counts an error by its text, cut so that a thousand alike are one line.
func (t *tally) failed(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := err.Error()
	t.sum.Errors[text[:min(len(text), 200)]]++
}

// print tells people, and with -json programs, what became of it all; answers whether nothing was lost.
func (t *tally) print(o *options, took time.Duration) bool {
	s := &t.sum
	s.Milliseconds = took.Milliseconds()
	s.Handshakes, s.Requests = latencies(t.handshakes), latencies(t.requests)
	if o.times {
		for _, time := range t.handshakes {
			s.HandshakeTimes = append(s.HandshakeTimes, time.Microseconds())
		}
	}
	fmt.Printf("%s: connections ok=%d failed=%d  requests ok=%d failed=%d  moved=%d 0rtt=%d resumed=%d  bytes=%d  %.2fs  %.0f requests/s %.0f connections/s\n",
		o.verb, s.ConnectionsOK, s.ConnectionsFailed, s.RequestsOK, s.RequestsFailed, s.Moved, s.ZeroRTT, s.Resumed,
		s.Bytes, took.Seconds(), float64(s.RequestsOK)/took.Seconds(), float64(s.ConnectionsOK)/took.Seconds())
	fmt.Printf("  handshake p50=%v p99=%v  request p50=%v p99=%v\n",
		percentile(t.handshakes, .5), percentile(t.handshakes, .99), percentile(t.requests, .5), percentile(t.requests, .99))
	for _, counts := range []struct {
		name  string
		texts map[string]int
	}{{"error", s.Errors}, {"body", s.Bodies}, {"sha256", s.SHA256}} {
		for text, count := range counts.texts {
			fmt.Printf("  %s x%d: %q\n", counts.name, count, text)
		}
	}
	if o.json {
		line, err := json.Marshal(s)
		if err != nil {
			exit(err.Error())
		}
		fmt.Println(string(line))
	}
	return s.ConnectionsOK == o.connections && s.RequestsOK == o.connections*o.expected() && len(s.Errors) == 0
}

func latencies(times []time.Duration) latency {
	of := func(part float64) int64 { return percentile(times, part).Microseconds() }
	return latency{of(.5), of(.99), of(1)}
}

func percentile(times []time.Duration, part float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[int(part*float64(len(times)-1))]
}
