// Go, gorilla/websocket: a hub, and two goroutines for each connection, one that reads and one that writes.
// usage: gorilla PORT
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/gorilla/websocket"
)

// Beyond so many messages behind, a connection is closed.
const queueMessagesMax = 256

type client struct {
	socket *websocket.Conn
	queue  chan *websocket.PreparedMessage
}

type hub struct {
	join, leave chan *client
	publish     chan *websocket.PreparedMessage
}

func (h *hub) run() {
	clients := make(map[*client]struct{})
	for {
		select {
		case c := <-h.join:
			clients[c] = struct{}{}
		case c := <-h.leave:
			if _, there := clients[c]; there {
				delete(clients, c)
				close(c.queue)
			}
		case message := <-h.publish:
			for c := range clients {
				select {
				case c.queue <- message:
				default:
					delete(clients, c)
					close(c.queue)
				}
			}
		}
	}
}

func (c *client) write() {
	defer c.socket.Close()
	for message := range c.queue {
		if c.socket.WritePreparedMessage(message) != nil {
			return
		}
	}
}

func (c *client) read(h *hub) {
	defer func() {
		h.leave <- c
		c.socket.Close()
	}()
	for {
		kind, text, err := c.socket.ReadMessage()
		if err != nil {
			return
		}
		message, err := websocket.NewPreparedMessage(kind, text)
		if err != nil {
			return
		}
		h.publish <- message
	}
}

func echo(socket *websocket.Conn) {
	defer socket.Close()
	for {
		kind, text, err := socket.ReadMessage()
		if err != nil || socket.WriteMessage(kind, text) != nil {
			return
		}
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gorilla PORT")
		os.Exit(2)
	}
	h := &hub{make(chan *client), make(chan *client), make(chan *websocket.PreparedMessage)}
	go h.run()
	upgrader := websocket.Upgrader{
		ReadBufferSize:  1024,
		WriteBufferSize: 1024,
		CheckOrigin:     func(*http.Request) bool { return true },
	}
	http.HandleFunc("/bench", func(response http.ResponseWriter, request *http.Request) {
		socket, err := upgrader.Upgrade(response, request, nil)
		if err != nil {
			return
		}
		c := &client{socket, make(chan *websocket.PreparedMessage, queueMessagesMax)}
		h.join <- c
		go c.write()
		go c.read(h)
	})
	http.HandleFunc("/echo", func(response http.ResponseWriter, request *http.Request) {
		if socket, err := upgrader.Upgrade(response, request, nil); err == nil {
			go echo(socket)
		}
	})
	// The queue of net.Listen is as long as the kernel allows.
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening", os.Args[1])
	fmt.Fprintln(os.Stderr, http.Serve(listener, nil))
	os.Exit(1)
}
