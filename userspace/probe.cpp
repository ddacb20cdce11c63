// SPDX-License-Identifier: GPL-2.0-only
#include "probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "core/probe.h"
#include "kernel/clock.h"
#include "kernel/error.h"
#include "kernel/netns.h"
#include "kernel/output.h"
#include "kernel/unique_fd.h"
#include "setup.h"
#include "sink/json.h"
#include "sink/probe_text.h"
#include "tracer.h"

namespace droptrace {

namespace {

constexpr std::uint64_t kServicesNs = 10'000'000'000;  // for the rules of kube-proxy to be read
constexpr std::uint64_t kGraceNs = 150'000'000;  // for the records of what has happened to come

// A query that any DNS server answers, if only with an error: the address of
// kubernetes.default.svc.cluster.local (RFC 1035, 4.1).
constexpr char kQuery[] =
    "\x44\x54\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    "\x0akubernetes\x07"
    "default\x03svc\x07"
    "cluster\x05local\x00\x00\x01\x00\x01";

// Keeps what the trace says, for the end.
class ProbeSink : public Sink {
 public:
  explicit ProbeSink(std::vector<Drop>& drops) : drops_(drops) {}
  std::string drop(const Drop& drop) override {
    drops_.push_back(drop);
    return {};
  }
  std::string attempt(const AttemptReport&) override { return {}; }
  std::string lost(std::int64_t, const std::map<std::string, std::uint64_t>&) override {
    return {};
  }
  std::string summary(std::int64_t, const Totals&) override { return {}; }

 private:
  std::vector<Drop>& drops_;
};

// An address and port as connect(2) wants them.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

SocketAddress socket_address(const Endpoint& endpoint) {
  SocketAddress result;
  if (endpoint.address.v6) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(endpoint.port.value_or(0));
    std::memcpy(&address.sin6_addr, endpoint.address.bytes.data(), 16);
    std::memcpy(&result.storage, &address, sizeof(address));
    result.size = sizeof(address);
  } else {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(endpoint.port.value_or(0));
    std::memcpy(&address.sin_addr, endpoint.address.bytes.data(), 4);
    std::memcpy(&result.storage, &address, sizeof(address));
    result.size = sizeof(address);
  }
  return result;
}

Endpoint local_endpoint(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  Endpoint endpoint;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return endpoint;
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 address{};
    std::memcpy(&address, &storage, sizeof(address));
    endpoint.address.v6 = true;
    std::memcpy(endpoint.address.bytes.data(), &address.sin6_addr, 16);
    endpoint.port = ntohs(address.sin6_port);
  } else {
    sockaddr_in address{};
    std::memcpy(&address, &storage, sizeof(address));
    std::memcpy(endpoint.address.bytes.data(), &address.sin_addr, 4);
    endpoint.port = ntohs(address.sin_port);
  }
  return endpoint;
}

class Prober : public Guest {
 public:
  Prober(const ProbeOptions& options, ProbeTarget target)
      : options_(options), target_(std::move(target)), began_ns_(boot_ns()) {
    result_.to = options.to;
  }

  std::unique_ptr<Sink> make_sink() override { return std::make_unique<ProbeSink>(drops_); }
  bool step(const World& world, const PathLog::Live& live, PathLog& path_log) override;
  bool is_done() const { return is_done_; }
  const ProbeResult& result() const { return result_; }

 private:
  bool dial(const World& world, const PathLog::Live& live, PathLog& path_log);
  std::string client_netns(const World& world, const PathLog::Live& live);
  void connect_from(const std::string& netns, const Endpoint& to);
  void settle(int error);
  void conclude(const World& world, const PathLog::Live& live, PathLog& path_log);

  const ProbeOptions& options_;
  ProbeTarget target_;
  std::uint64_t began_ns_;
  std::uint64_t dialled_ns_ = 0;
  std::uint64_t settled_ns_ = 0;
  UniqueFd socket_;
  std::vector<Drop> drops_;
  ProbeResult result_;
  bool is_done_ = false;
};

std::string Prober::client_netns(const World& world, const PathLog::Live& live) {
  result_.from = options_.from;
  if (options_.from == "node") return "/proc/self/ns/net";
  if (!options_.from.starts_with("pod:")) return options_.from;
  const Pod* const pod = pod_named(std::string_view(options_.from).substr(4), world);
  const auto ref = pod ? live.find(pod->netns) : live.end();
  if (ref == live.end())
    throw Error("--from " + options_.from + ": no pod of this node is called so");
  return ref->second.path;
}

void Prober::connect_from(const std::string& netns, const Endpoint& to) {
  const bool is_udp = target_.protocol == IPPROTO_UDP;
  int error = 0;
  const NetnsSwitch netns_switch;
  const bool entered = netns_switch.run_in(netns, [&] {
    socket_ =
        UniqueFd(::socket(to.address.v6 ? AF_INET6 : AF_INET,
                          (is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket_.valid()) {
      error = errno;
      return;
    }
    const SocketAddress address = socket_address(to);
    dialled_ns_ = boot_ns();
    if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address.storage),
                  address.size) != 0)
      error = errno;
    if (is_udp && error == 0 && ::send(socket_.get(), kQuery, sizeof(kQuery) - 1, 0) < 0)
      error = errno;
  });
  if (!entered) throw Error("cannot enter " + netns + ": " + errno_text(errno));
  result_.dialled = {local_endpoint(socket_.get()), to, target_.protocol};
  if (error != (is_udp ? 0 : EINPROGRESS)) settle(error);
}

// error: what connect(2) said in the end; ETIMEDOUT: nothing yet.
void Prober::settle(int error) {
  settled_ns_ = boot_ns();
  result_.took_ns = settled_ns_ - dialled_ns_;
  if (error == 0) {
    result_.outcome = Outcome::kAnswered;
  } else if (error != ETIMEDOUT) {
    result_.outcome = Outcome::kRejected;
    result_.error = errno_text(error);
  }
}

bool Prober::dial(const World& world, const PathLog::Live& live, PathLog& path_log) {
  const auto endpoint = resolve_target(target_, world);
  if (const auto* problem = std::get_if<std::string>(&endpoint)) {
    if (boot_ns() - began_ns_ < kServicesNs && target_.kind != ProbeTarget::Kind::kPod)
      return false;
    throw Error("cannot probe " + options_.to + ": " + *problem);
  }
  // The names of services are worth a moment.
  if (!world.services && boot_ns() - began_ns_ < kServicesNs / 4) return false;
  if (!path_log.hooks())
    throw Error("cannot follow connection attempts on this kernel: see droptrace check",
                kExitUnsupported);
  path_log.paths().keep_hops();
  path_log.watch_counters(live);
  connect_from(client_netns(world, live), std::get<Endpoint>(endpoint));
  return true;
}

bool Prober::step(const World& world, const PathLog::Live& live, PathLog& path_log) {
  if (dialled_ns_ == 0 && !dial(world, live, path_log)) return false;
  if (settled_ns_ == 0) {
    const bool is_udp = target_.protocol == IPPROTO_UDP;
    pollfd ready{socket_.get(), static_cast<short>(is_udp ? POLLIN : POLLOUT), 0};
    if (::poll(&ready, 1, 0) > 0) {
      int error = 0;
      socklen_t size = sizeof(error);
      ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
      settle(error);
    } else if (boot_ns() - dialled_ns_ >= options_.timeout_ns) {
      settle(ETIMEDOUT);
    }
  }
  if (settled_ns_ == 0 || boot_ns() - settled_ns_ < kGraceNs) return false;
  conclude(world, live, path_log);
  is_done_ = true;
  return true;
}

void Prober::conclude(const World& world, const PathLog::Live& live, PathLog& path_log) {
  std::optional<Attempted> asked;
  if (const Attempted* const found = path_log.paths().find_dialled(result_.dialled)) {
    asked = *found;
    if (result_.outcome == Outcome::kUnanswered) path_log.ask_conntrack(*asked);
  }
  const Attempted* const attempt = asked ? &*asked : nullptr;
  for (Drop& drop : drops_) {
    if (drop.dialled() == result_.dialled || drop.dialled() == result_.dialled.reversed())
      result_.drops.push_back(std::move(drop));
  }
  if (attempt) {
    const auto change = path_log.change(*attempt, live);
    EnrichOptions enrich_options;
    enrich_options.realtime_offset_ns = realtime_offset_ns();
    result_.report = report_of(*attempt, world, {}, enrich_options, change ? &*change : nullptr);
  } else {
    result_.report.drop.time_ns = clock_ns(CLOCK_REALTIME);
  }
  explain_probe(result_, attempt, world);
}

}  // namespace

int probe(const ProbeOptions& options) {
  auto target = parse_probe_target(options.to);
  if (!target)
    throw Error("cannot probe " + options.to +
                    ": it is no IP[:PORT], NS/SERVICE[:PORT] or pod:NS/NAME:PORT",
                kExitUsage);
  if (options.udp) target->protocol = IPPROTO_UDP;
  Options trace_options;
  trace_options.all = true;
  trace_options.verbosity = options.verbosity > 0 ? 1 : -1;
  trace_options.unanswered_after_ns = 0;
  Prober prober(options, std::move(*target));
  const int status = trace(trace_options, &prober);
  if (!prober.is_done()) return status == kExitDone ? kExitFailed : status;
  const ProbeResult& result = prober.result();
  Output output(STDOUT_FILENO, "standard output");
  output.write(options.output == OutputFormat::kJson
                   ? probe_json(result)
                   : probe_text(result, wants_color(options.color)));
  return result.outcome == Outcome::kAnswered ? kExitDone : kExitExpectation;
}

}  // namespace droptrace
