// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/test_packet.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "kernel/unique_fd.h"

namespace droptrace {

namespace {

constexpr std::size_t kRoundRecords = 4096;
constexpr int kTries = 3;
constexpr std::chrono::milliseconds kPatience{20};  // for a record that was sent before

void send_to(std::uint16_t port) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::sendto(socket.get(), "", 1, 0, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

}  // namespace

int bring_loopback_up() {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  return socket.valid() && ::ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0 ? 0 : errno;
}

std::optional<dt_drop> drop_one(BpfObject& bpf, std::uint32_t netns, std::uint16_t port,
                                const OtherRecords& other) {
  std::optional<dt_drop> found;
  const auto take = [&](std::span<const std::byte> bytes) {
    dt_drop drop;
    if (bytes.size() != sizeof(drop)) return;
    std::memcpy(&drop, bytes.data(), sizeof(drop));
    if (drop.netns == netns)
      found = drop;
    else
      other(bytes);
  };
  // The record may be missing, as the program does not nest on a CPU; and behind a record that
  // another CPU has not finished yet, it cannot be seen for a moment.
  for (int tries = 0; tries < kTries && !found; ++tries) {
    send_to(port);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    do {
      while (bpf.consume(take, kRoundRecords) == kRoundRecords) {
      }
    } while (!found && std::chrono::steady_clock::now() < deadline);
  }
  return found;
}

}  // namespace droptrace
