// SPDX-License-Identifier: GPL-2.0-only
// Serves one page over HTTP from the event loop. Nothing that a client does or fails to do can
// stall the loop or take more than a bounded amount of memory.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "kernel/event_loop.h"
#include "kernel/unique_fd.h"

namespace droptrace {

class MetricsServer {
 public:
  // address: "127.0.0.1:9100", "[::1]:9100", ":9100" (loopback). Throws Error if nobody can listen
  // there. page is asked for the page whenever it is wanted.
  MetricsServer(EventLoop& loop, const std::string& address, std::function<std::string()> page);
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  std::uint16_t port() const { return port_; }

 private:
  struct Client {
    UniqueFd fd;
    std::string request;
    unsigned age = 0;  // in seconds, roughly
  };

  void accept_clients();
  void read_request(int fd);
  void close_client(int fd);
  void close_idle_clients();

  EventLoop& loop_;
  std::function<std::string()> page_;
  UniqueFd listener_;
  std::uint16_t port_ = 0;
  std::map<int, Client> clients_;
};

}  // namespace droptrace
