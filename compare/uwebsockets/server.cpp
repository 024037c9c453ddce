// uWebSockets in C++: its own topics, which send everything of one turn to a subscriber at once.
// usage: server PORT

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "App.h"

struct Nothing {};

int main(int count, char **arguments) {
    int port = count > 1 ? std::atoi(arguments[1]) : 0;
    uWS::App app;

    uWS::App::WebSocketBehavior<Nothing> bench;
    bench.compression = uWS::DISABLED;
    // Enough for any backlog of the comparison: beyond it, messages are dropped.
    bench.maxBackpressure = 16 * 1024 * 1024;
    bench.open = [](auto *socket) { socket->subscribe("bench"); };
    // The app's publish reaches everyone, the socket's everyone else.
    bench.message = [&app](auto *, std::string_view text, uWS::OpCode code) { app.publish("bench", text, code, false); };

    uWS::App::WebSocketBehavior<Nothing> echo;
    echo.compression = uWS::DISABLED;
    echo.message = [](auto *socket, std::string_view text, uWS::OpCode code) { socket->send(text, code, false); };

    app.ws<Nothing>("/bench", std::move(bench));
    app.ws<Nothing>("/echo", std::move(echo));
    app.listen("127.0.0.1", port, [port](auto *listener) {
        if (listener == nullptr) {
            std::fprintf(stderr, "cannot listen on port %d\n", port);
            std::exit(1);
        }
        std::printf("listening %d\n", port);
        std::fflush(stdout);
    });
    app.run();
}
