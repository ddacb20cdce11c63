// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/metrics_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "core/address.h"
#include "core/http_request.h"
#include "kernel/error.h"

namespace droptrace {

namespace {

constexpr std::size_t kClientsMost = 16;
constexpr unsigned kSecondsMost = 5;  // for a request
constexpr std::uint64_t kSecondNs = 1'000'000'000;
constexpr int kSendBuffer = 512 << 10;  // a page fits in: it is sent at once, or not at all

struct ListenAddress {
  Address address;
  std::uint16_t port = 0;
};

std::optional<ListenAddress> parse_listen_address(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto address = parse_address(host.empty() ? "127.0.0.1" : host);
  ListenAddress result;
  const std::string_view port = text.substr(colon + 1);
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), result.port);
  if (!address || error != std::errc{} || end != port.data() + port.size()) return std::nullopt;
  result.address = *address;
  return result;
}

// Length of the socket address that it makes.
socklen_t to_sockaddr(const ListenAddress& from, sockaddr_storage& to) {
  if (from.address.v6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(to);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(from.port);
    std::memcpy(&v6.sin6_addr, from.address.bytes.data(), sizeof(v6.sin6_addr));
    return sizeof(v6);
  }
  auto& v4 = reinterpret_cast<sockaddr_in&>(to);
  v4.sin_family = AF_INET;
  v4.sin_port = htons(from.port);
  std::memcpy(&v4.sin_addr, from.address.bytes.data(), sizeof(v4.sin_addr));
  return sizeof(v4);
}

}  // namespace

MetricsServer::MetricsServer(EventLoop& loop, const std::string& address,
                             std::function<std::string()> page)
    : loop_(loop), page_(std::move(page)) {
  const auto where = parse_listen_address(address);
  if (!where)
    throw Error("--metrics " + address + ": not ADDRESS:PORT such as 127.0.0.1:9100", kExitUsage);
  sockaddr_storage socket_address{};
  socklen_t length = to_sockaddr(*where, socket_address);
  auto* const generic = reinterpret_cast<sockaddr*>(&socket_address);
  listener_.reset(
      ::socket(generic->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  const int one = 1;
  ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (::bind(listener_.get(), generic, length) != 0 || ::listen(listener_.get(), SOMAXCONN) != 0)
    throw Error("cannot serve metrics at " + address + ": " + errno_text(errno) +
                ": choose another address or port");
  if (::getsockname(listener_.get(), generic, &length) == 0)
    port_ = ntohs(where->address.v6 ? reinterpret_cast<sockaddr_in6*>(generic)->sin6_port
                                    : reinterpret_cast<sockaddr_in*>(generic)->sin_port);
  loop_.watch(listener_.get(), [this] { accept_clients(); });
  loop_.add_timer([this] { close_idle_clients(); }).start_periodic(kSecondNs);
}

void MetricsServer::accept_clients() {
  while (true) {
    UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client.valid()) return;
    if (clients_.size() >= kClientsMost) continue;  // closed: whoever is served will be done soon
    const int fd = client.get();
    ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof(kSendBuffer));
    loop_.watch(fd, [this, fd] { read_request(fd); });
    clients_.emplace(fd, Client{std::move(client), {}, 0});
  }
}

void MetricsServer::read_request(int fd) {
  Client& client = clients_.at(fd);
  std::array<char, 2048> buffer;
  const ssize_t count = ::read(fd, buffer.data(), buffer.size());
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) return close_client(fd);
  client.request.append(buffer.data(), static_cast<std::size_t>(count));
  if (!http_complete(client.request)) return;
  const std::string answer = http_answer(client.request, page_()).value_or("");
  // What does not fit into the socket's buffer is of a client that has asked for too little of it.
  [[maybe_unused]] const ssize_t sent =
      ::send(fd, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  ::shutdown(fd, SHUT_WR);
  close_client(fd);
}

void MetricsServer::close_client(int fd) {
  loop_.unwatch(fd);
  clients_.erase(fd);
}

void MetricsServer::close_idle_clients() {
  std::vector<int> idle;
  for (auto& [fd, client] : clients_) {
    if (++client.age > kSecondsMost) idle.push_back(fd);
  }
  for (const int fd : idle) close_client(fd);
}

}  // namespace droptrace
