// SPDX-License-Identifier: GPL-2.0-only
// The parts of pcapng (draft-ietf-opsawg-pcapng) that recordings are made of.
#pragma once

#include <cstdint>
#include <string_view>

namespace droptrace::pcapng {

enum BlockType : std::uint32_t {
  kSectionHeader = 0x0a0d0d0a,
  kInterface = 1,
  kNames = 4,
  kStatistics = 5,
  kPacket = 6,
};

enum OptionCode : std::uint16_t {
  kEnd = 0,
  kComment = 1,
  kCustomText = 2988,    // UTF-8; to be kept when the block is copied
  kCustomBytes = 19373,  // not to be kept
  kSectionOs = 3,
  kSectionApplication = 4,
  kInterfaceName = 2,
  kInterfaceDescription = 3,
  kInterfaceResolution = 9,
  kInterfaceOs = 12,
  kStatisticsStart = 2,
  kStatisticsEnd = 3,
  kStatisticsReceived = 4,
  kStatisticsDropped = 5,
};

enum NameRecord : std::uint16_t { kNamesEnd = 0, kName4 = 1, kName6 = 2 };

constexpr std::uint32_t kByteOrderMagic = 0x1a2b3c4d;
constexpr std::uint16_t kMajor = 1;
constexpr std::uint64_t kLengthUnknown = ~std::uint64_t{0};

// Ethernet, with a zeroed MAC header but for the type: the kernel has none at most hooks. All
// interfaces have to have one link type for tcpdump to read the file, and raw IP (101) could not
// hold ARP and other protocols that are no IP.
constexpr std::uint16_t kEthernet = 1;
constexpr std::size_t kMacHeader = 14;

// Custom options belong to an enterprise. droptrace has no number of its own, and takes
// the one for examples (RFC 5612); what it writes there is JSON that begins with its schema.
constexpr std::uint32_t kEnterprise = 32473;
constexpr std::string_view kEnvironmentStart = R"({"schema":1,"type":"environment")";

constexpr std::size_t kOptionMost = 60000;  // of 65,535: longer JSON goes on in the next option
constexpr std::size_t kBlockLeast = 12;
constexpr std::size_t kBlockMost = 16U << 20U;  // what a reader takes

}  // namespace droptrace::pcapng
