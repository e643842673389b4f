// Command netq is a client of HTTP/0.9 over golang.org/x/net/quic, by the cases of
// quic-interop-runner:
//
//	netq transfer downloads https://10.0.0.1:443/a https://10.0.0.1:443/b
//
// It exits with 127 for a case that this QUIC implementation does not support.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/net/quic"
)

func main() {
	if len(os.Args) < 4 {
		exit(2, errors.New("netq CASE FOLDER URL..."))
	}
	testcase, folder, urls := os.Args[1], os.Args[2], os.Args[3:]
	switch testcase {
	case "resumption", "zerortt", "http3", "ecn":
		lacks("golang.org/x/net/quic has no " + testcase)
	case "retry":
		// RFC 9001 section 5.2 wants new ones.
		lacks("golang.org/x/net/quic goes on with its old Initial keys after a Retry")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	endpoint, err := quic.Listen("udp", ":0", nil)
	if err != nil {
		exit(1, err)
	}
	if testcase == "multiconnect" {
		for _, url := range urls {
			if err = fetch(ctx, endpoint, folder, []string{url}); err != nil {
				break
			}
		}
	} else {
		err = fetch(ctx, endpoint, folder, urls)
	}
	if err != nil {
		exit(1, err)
	}
}

// fetch downloads all files on one connection, each on a stream.
func fetch(ctx context.Context, endpoint *quic.Endpoint, folder string, urls []string) error {
	first, err := url.Parse(urls[0])
	if err != nil {
		return err
	}
	config := &quic.Config{
		TLSConfig: &tls.Config{
			InsecureSkipVerify: true, ServerName: "server", MinVersion: tls.VersionTLS13,
			NextProtos: []string{"hq-interop"},
		},
		HandshakeTimeout: patience, MaxIdleTimeout: patience,
	}
	conn, err := endpoint.Dial(ctx, "udp", first.Host, config)
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	defer conn.Abort(nil)
	return together(urls, func(address string) error {
		u, err := url.Parse(address)
		if err != nil {
			return err
		}
		stream, err := conn.NewStream(ctx)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(stream, "GET %s\r\n", u.Path); err != nil {
			return err
		}
		stream.CloseWrite()
		file, err := os.Create(filepath.Join(folder, filepath.Base(u.Path)))
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = io.Copy(file, stream)
		return err
	})
}

// together does one thing for each of the URLs at once.
func together(urls []string, do func(string) error) error {
	errs := make([]error, len(urls))
	var all sync.WaitGroup
	for i, url := range urls {
		all.Add(1)
		go func() {
			defer all.Done()
			errs[i] = do(url)
		}()
	}
	all.Wait()
	return errors.Join(errs...)
}

func lacks(why string) {
	fmt.Println(why)
	os.Exit(127)
}

func exit(code int, why error) {
	fmt.Fprintln(os.Stderr, "netq:", why)
	os.Exit(code)
}

const patience = 180 * time.Second
