// HTTP/0.9 and HTTP/3 by the cases of quic-interop-runner.

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// fetcher downloads files of one server into a folder.
type fetcher struct {
	folder, host string
	tls          *tls.Config
	quic         *quic.Config
}

// interop does what a case asks of a client: goq hq CASE FOLDER URL...
func interop(arguments []string) error {
	if len(arguments) < 3 {
		return errors.New("goq hq CASE FOLDER URL...")
	}
	testcase, urls := arguments[0], arguments[2:]
	first, err := url.Parse(urls[0])
	if err != nil {
		return err
	}
	f := &fetcher{
		folder: arguments[1], host: first.Host,
		tls:  &tls.Config{InsecureSkipVerify: true, ServerName: "server", NextProtos: []string{"hq-interop"}},
		quic: &quic.Config{HandshakeIdleTimeout: patience, MaxIdleTimeout: patience},
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch testcase {
	case "http3":
		return f.http3(urls)
	case "multiconnect":
		for _, url := range urls {
			if err := f.connection(ctx, []string{url}, nil); err != nil {
				return err
			}
		}
		return nil
	case "resumption", "zerortt":
		early := testcase == "zerortt"
		f.tls.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		if err := f.connection(ctx, urls[:1], nil); err != nil {
			return err
		}
		return f.connection(ctx, urls[1:], func(state quic.ConnectionState) error {
			if !state.TLS.DidResume || state.Used0RTT != early {
				return fmt.Errorf("resumed: %t, 0-RTT accepted: %t", state.TLS.DidResume, state.Used0RTT)
			}
			return nil
		})
	case "chacha20":
		return f.connection(ctx, urls, func(state quic.ConnectionState) error {
			if state.TLS.CipherSuite != tls.TLS_CHACHA20_POLY1305_SHA256 {
				return fmt.Errorf("cipher suite %#x", state.TLS.CipherSuite)
			}
			return nil
		})
	default:
		return f.connection(ctx, urls, nil)
	}
}

// connection fetches all files on one connection, each on a stream; check looks at what was agreed on.
func (f *fetcher) connection(ctx context.Context, urls []string, check func(quic.ConnectionState) error) error {
	conn, err := quic.DialAddrEarly(ctx, f.host, f.tls, f.quic)
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	defer conn.CloseWithError(0, "")
	if err := together(urls, func(url string) error { return f.get(ctx, conn, url) }); err != nil {
		return err
	}
	select {
	case <-conn.HandshakeComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.tls.ClientSessionCache != nil && check == nil {
		// The ticket comes after the handshake, with or behind the first answer.
		time.Sleep(200 * time.Millisecond)
	}
	if check != nil {
		return check(conn.ConnectionState())
	}
	return nil
}

func (f *fetcher) get(ctx context.Context, conn *quic.Conn, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stream, "GET %s\r\n", u.Path); err != nil {
		return err
	}
	stream.Close()
	return f.save(u.Path, stream)
}

func (f *fetcher) http3(urls []string) error {
	f.tls.NextProtos = []string{"h3"}
	transport := &http3.Transport{TLSClientConfig: f.tls, QUICConfig: f.quic, DisableCompression: true}
	defer transport.Close()
	client := http.Client{Transport: transport, Timeout: patience}
	return together(urls, func(address string) error {
		response, err := client.Get(address)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", address, response.Status)
		}
		return f.save(response.Request.URL.Path, response.Body)
	})
}

func (f *fetcher) save(path string, from io.Reader) error {
	file, err := os.Create(filepath.Join(f.folder, filepath.Base(path)))
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(file, from)
	return err
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

const patience = 180 * time.Second
