// SPDX-License-Identifier: GPL-2.0-only
// Measures reading the services of a large cluster from kube-proxy's rules: the processor time in
// all, the longest of the steps that the log may have to wait for, and memory. Figures for people
// to read; no test depends on them.
//
//     cmake --build build --target droptrace_services_bench
//     build/droptrace_services_bench [SERVICES] [ENDPOINTS-OF-EACH]
#include "core/services.h"

#include <netinet/in.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/kube_iptables.h"
#include "core/kube_nftables.h"

namespace droptrace {
namespace {

constexpr std::size_t kPiece = 256 << 10;  // what one turn of the event loop takes of a program

double cpu_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

struct Cost {
  double total_ms = 0;
  double longest_ms = 0;

  void measure(const std::function<void()>& step) {
    const double start = cpu_ms();
    step();
    const double took = cpu_ms() - start;
    total_ms += took;
    longest_ms = std::max(longest_ms, took);
  }
};

std::string cluster_ip(unsigned i) {
  return fmt::format("10.{}.{}.{}", 96 + i / 62500, i / 250 % 250, i % 250 + 1);
}
std::string pod_ip(unsigned i) {
  return fmt::format("10.{}.{}.{}", 244 + i / 62500, i / 250 % 250, i % 250 + 1);
}
std::string name(unsigned i) { return fmt::format("namespace-{}/some-service-{}", i % 100, i); }

// As iptables-save prints it; in the order of the kernel's chains, so that links point both ways.
std::string iptables_save(unsigned services, unsigned endpoints) {
  std::string text = "*nat\n";
  for (unsigned i = 0; i < services; ++i) {
    const std::string svc = fmt::format("KUBE-SVC-{:A>16}", i);
    const std::string what = name(i) + ":http";
    const std::string portal =
        fmt::format("-d {}/32 -p tcp -m comment --comment \"{} cluster IP\" -m tcp --dport 80",
                    cluster_ip(i), what);
    text += fmt::format("-A KUBE-SERVICES {} -j {}\n", portal, svc);
    text += fmt::format("-A {} ! -s 10.244.0.0/16 {} -j KUBE-MARK-MASQ\n", svc, portal);
    for (unsigned j = 0; j < endpoints; ++j) {
      const unsigned number = i * endpoints + j;
      const std::string ip = pod_ip(number);
      const std::string sep = fmt::format("KUBE-SEP-{:B>16}", number);
      text += fmt::format(
          "-A {} -m comment --comment \"{} -> {}:8080\" -m statistic --mode random --probability "
          "0.50000000000 -j {}\n"
          "-A {} -s {}/32 -m comment --comment \"{}\" -j KUBE-MARK-MASQ\n"
          "-A {} -p tcp -m comment --comment \"{}\" -m tcp -j DNAT --to-destination {}:8080\n",
          svc, what, ip, sep, sep, ip, what, sep, what, ip);
    }
  }
  return text + "COMMIT\n";
}

void report(const char* mode, std::size_t size, const Cost& cost, const Services& services) {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  fmt::print(
      "{:9} {:6} services, {:5.1f} MB: {:6.1f} ms in all, longest step {:5.1f} ms; "
      "highest resident {:.0f} MiB\n",
      mode, services.all().size(), static_cast<double>(size) / 1e6, cost.total_ms, cost.longest_ms,
      static_cast<double>(usage.ru_maxrss) / 1024);
}

void measure_iptables(unsigned count, unsigned endpoints) {
  const std::string text = iptables_save(count, endpoints);
  ServicesBuilder builder;
  KubeIptablesReader reader(builder, false);
  Services services;
  Cost cost;
  for (std::size_t at = 0; at < text.size(); at += kPiece)
    cost.measure([&] { reader.feed(std::string_view(text).substr(at, kPiece)); });
  // In a turn each: between them is the reading of IPv6's rules.
  cost.measure([&] { reader.finish(); });
  cost.measure([&] { services = std::move(builder).build(); });
  report("iptables", text.size(), cost, services);
}

void measure_nftables(unsigned count, unsigned endpoints) {
  ServicesBuilder builder;
  KubeNftablesReader reader(builder, false);
  Services services;
  Cost cost;
  std::size_t size = 0;
  for (unsigned i = 0; i < count; ++i) {
    const std::string path = name(i) + "/tcp/http";
    std::vector<std::string> chains;
    for (unsigned j = 0; j < endpoints; ++j)
      chains.push_back(
          fmt::format("endpoint-AAAAAAAA-{}__{}/8080", path, pod_ip(i * endpoints + j)));
    const Address address = parse_address(cluster_ip(i)).value();
    std::array<std::uint8_t, 12> key = {0, 0, 0, 0, IPPROTO_TCP, 0, 0, 0, 0, 80, 0, 0};
    std::copy_n(address.bytes.begin(), 4, key.begin());
    const std::string chain = "service-AAAAAAAA-" + path;
    cost.measure([&] {
      for (const std::string& each : chains) reader.add_chain(each);
      reader.add_element({"service-ips", key, chain, {}});
    });
    for (const std::string& each : chains) size += each.size();
    size += chain.size() + key.size();
  }
  cost.measure([&] { services = std::move(builder).build(); });
  report("nftables", size, cost, services);
}

}  // namespace
}  // namespace droptrace

int main(int argc, char** argv) {
  const unsigned services = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : 10'000;
  const unsigned endpoints = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 2;
  droptrace::measure_nftables(services, endpoints);
  droptrace::measure_iptables(services, endpoints);
}
