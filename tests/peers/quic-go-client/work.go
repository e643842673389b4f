// What is done on a connection: HTTP/3 requests, or streams that come back.

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// requester makes HTTP/3 requests; each answers how many bytes came and whether
// they were right.
func (cl *client) requester(
	ctx context.Context, roundTrip func(*http.Request) (*http.Response, error), trip *journey,
) func() (int64, error) {
	return func() (int64, error) {
		request, err := cl.request(ctx, trip)
		if err != nil {
			return 0, err
		}
		response, err := roundTrip(request)
		if err != nil {
			return 0, err
		}
		defer response.Body.Close()
		return cl.check(response, trip)
	}
}

func (cl *client) request(ctx context.Context, trip *journey) (*http.Request, error) {
	if cl.o.post == 0 {
		method := http.MethodGet
		if cl.o.resume {
			method = http3.MethodGet0RTT
		}
		return http.NewRequestWithContext(ctx, method, cl.o.url, nil)
	}
	body := &counted{io.LimitReader(&pattern{}, int64(cl.o.post)), trip}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, cl.o.url, body)
	if err == nil {
		request.ContentLength = int64(cl.o.post)
	}
	return request, err
}

// check reads an answer to its end and compares it with what is known of it: its status, its
// size, the digest that the tests' upstream sends along, what was posted.
func (cl *client) check(response *http.Response, trip *journey) (int64, error) {
	digest := sha256.New()
	var short bytes.Buffer
	body := io.TeeReader(&counted{response.Body, trip}, io.MultiWriter(digest, &limited{&short}))
	size, err := io.Copy(io.Discard, body)
	if err != nil {
		return size, fmt.Errorf("after %d bytes of the answer: %w", size, err)
	}
	sum := hex.EncodeToString(digest.Sum(nil))
	cl.tally.answer(cl.o, short.String(), size, sum)
	if response.StatusCode != http.StatusOK {
		return size, fmt.Errorf("status %d", response.StatusCode)
	}
	if cl.o.expectSize >= 0 && size != cl.o.expectSize {
		return size, fmt.Errorf("%d bytes, not %d", size, cl.o.expectSize)
	}
	if promised := response.Header.Get("x-sha256"); promised != "" && promised != sum {
		return size, fmt.Errorf("wrong bytes: SHA-256 %s, not %s", sum, promised)
	}
	if cl.o.post > 0 && cl.o.checkPost {
		return size, checkPosted(cl.o.post, sum, short.String())
	}
	return size, nil
}

// checkPosted holds an answer against what was posted: the same bytes, or their size and SHA-256.
func checkPosted(octets int, sum, text string) error {
	digest := sha256.New()
	io.CopyN(digest, &pattern{}, int64(octets)) // neither can fail
	posted := hex.EncodeToString(digest.Sum(nil))
	if sum == posted || strings.TrimSpace(text) == fmt.Sprintf("%d %s", octets, posted) {
		return nil
	}
	return fmt.Errorf("the upload did not arrive whole: %.100q", text)
}

// echoOnce sends the pattern on a stream of its own and compares what comes back.
func echoOnce(ctx context.Context, conn *quic.Conn, size int, trip *journey) (int64, error) {
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return 0, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		stream.SetDeadline(deadline)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(stream, io.LimitReader(&pattern{}, int64(size)))
		if err == nil {
			err = stream.Close()
		}
		sent <- err
	}()
	back := &comparison{}
	octets, err := io.Copy(back, &counted{stream, trip})
	if err == nil {
		err = <-sent
	}
	if err == nil && octets != int64(size) {
		err = fmt.Errorf("echo: %d bytes of %d came back", octets, size)
	}
	return octets, err
}

// counted tells the journey how many bytes were read through it.
type counted struct {
	io.Reader
	trip *journey
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.trip.passed(n)
	return n, err
}

// limited keeps the first bytes that are written to it: enough for a short answer.
type limited struct{ kept *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.kept.Write(p[:min(len(p), shortAnswer+1-l.kept.Len())])
	return len(p), nil
}

// pattern reads endless bytes that tell by themselves where they belong: byte i is byte i%8 of
// the i/8-th number of SplitMix64. The tests' upstream serves the same.
type pattern struct{ at uint64 }

func (p *pattern) Read(b []byte) (int, error) {
	for filled := 0; filled < len(b); {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], mix(p.at/8))
		n := copy(b[filled:], word[p.at%8:])
		p.at += uint64(n)
		filled += n
	}
	return len(b), nil
}

func mix(word uint64) uint64 {
	z := (word + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// comparison holds what is written to it against the pattern.
type comparison struct{ expected pattern }

func (c *comparison) Write(p []byte) (int, error) {
	at := c.expected.at
	right := make([]byte, len(p))
	c.expected.Read(right)
	if !bytes.Equal(p, right) {
		return 0, fmt.Errorf("echo: wrong bytes after %d", at)
	}
	return len(p), nil
}

// shortAnswer is how many bytes an answer may have to be counted by its text.
const shortAnswer = 200
