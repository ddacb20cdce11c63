// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/netlink.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace droptrace {

namespace {

constexpr std::size_t kReceiveBytes = 65536;  // the kernel's own limit for a dump message is 32 KiB
constexpr std::size_t kAlign = NLMSG_ALIGNTO;

std::size_t aligned(std::size_t size) { return (size + kAlign - 1) / kAlign * kAlign; }

}  // namespace

NetlinkMessage::NetlinkMessage(std::uint16_t type, std::uint16_t flags) {
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST);
  append(&header, sizeof(header));
}

void NetlinkMessage::append(const void* value, std::size_t size) {
  const auto* begin = static_cast<const std::byte*>(value);
  bytes_.insert(bytes_.end(), begin, begin + size);
  bytes_.resize(aligned(bytes_.size()));
}

NetlinkMessage& NetlinkMessage::attribute(std::uint16_t type, const void* value, std::size_t size) {
  const nlattr header{static_cast<std::uint16_t>(NLA_HDRLEN + size), type};
  append(&header, sizeof(header));
  append(value, size);
  return *this;
}

NetlinkMessage& NetlinkMessage::begin(std::uint16_t type) {
  open_.push_back(bytes_.size());
  const nlattr header{0, static_cast<std::uint16_t>(type | NLA_F_NESTED)};
  append(&header, sizeof(header));
  return *this;
}

NetlinkMessage& NetlinkMessage::end() {
  const std::size_t start = open_.back();
  open_.pop_back();
  const auto length = static_cast<std::uint16_t>(bytes_.size() - start);
  std::memcpy(bytes_.data() + start + offsetof(nlattr, nla_len), &length, sizeof(length));
  return *this;
}

void NetlinkMessage::request_acknowledgement() {
  std::uint16_t flags = 0;
  std::memcpy(&flags, bytes_.data() + offsetof(nlmsghdr, nlmsg_flags), sizeof(flags));
  flags |= NLM_F_ACK;
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_flags), &flags, sizeof(flags));
}

std::span<const std::byte> NetlinkMessage::finish(std::uint32_t sequence) {
  const auto length = static_cast<std::uint32_t>(bytes_.size());
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof(length));
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_seq), &sequence, sizeof(sequence));
  return bytes_;
}

NetlinkAttributes parse_attributes(std::span<const std::byte> bytes) {
  NetlinkAttributes attributes;
  while (bytes.size() >= sizeof(nlattr)) {
    nlattr header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    if (header.nla_len < sizeof(header) || header.nla_len > bytes.size()) break;
    attributes[header.nla_type & NLA_TYPE_MASK] =
        bytes.subspan(sizeof(header), header.nla_len - sizeof(header));
    bytes = bytes.subspan(std::min(aligned(header.nla_len), bytes.size()));
  }
  return attributes;
}

std::string attribute_text(const NetlinkAttributes& attributes, std::uint16_t type) {
  const auto found = attributes.find(type);
  if (found == attributes.end()) return {};
  const auto* text = reinterpret_cast<const char*>(found->second.data());
  return {text, strnlen(text, found->second.size())};
}

std::optional<NetlinkSocket> NetlinkSocket::open(int protocol) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd.valid()) return std::nullopt;
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return std::nullopt;
  return NetlinkSocket(std::move(fd));
}

bool NetlinkSocket::join(unsigned group) {
  return ::setsockopt(fd_.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == 0;
}

namespace {

// Walks the messages of one datagram. Returns the result of the request once the kernel has said
// everything, nullopt while more is to come.
std::optional<int> walk(std::span<const std::byte> rest, std::uint32_t sequence,
                        const NetlinkSocket::Handler& handle) {
  while (rest.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header;
    std::memcpy(&header, rest.data(), sizeof(header));
    if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > rest.size()) return EBADMSG;
    const auto payload = rest.subspan(sizeof(header), header.nlmsg_len - sizeof(header));
    rest = rest.subspan(std::min(aligned(header.nlmsg_len), rest.size()));
    if (header.nlmsg_seq != sequence) continue;  // left over from a request given up
    if (header.nlmsg_type == NLMSG_DONE) return 0;
    if (header.nlmsg_type == NLMSG_ERROR) {
      int error = 0;
      if (payload.size() >= sizeof(error)) std::memcpy(&error, payload.data(), sizeof(error));
      return -error;
    }
    handle(header.nlmsg_type, payload);
  }
  return std::nullopt;
}

}  // namespace

int NetlinkSocket::request(NetlinkMessage& message, const Handler& handle) {
  if (const int error = start(message)) return error;
  return receive(sequence_, handle);
}

int NetlinkSocket::start(NetlinkMessage& message) {
  const auto bytes = message.finish(++sequence_);
  return ::send(fd_.get(), bytes.data(), bytes.size(), 0) < 0 ? errno : 0;
}

std::optional<int> NetlinkSocket::receive_some(const Handler& handle) {
  std::array<std::byte, kReceiveBytes> buffer;
  const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return std::nullopt;
  if (count < 0) return errno;
  return walk({buffer.data(), static_cast<std::size_t>(count)}, sequence_, handle);
}

int NetlinkSocket::receive(std::uint32_t sequence, const Handler& handle) {
  std::array<std::byte, kReceiveBytes> buffer;
  for (;;) {
    const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    const std::span<const std::byte> datagram(buffer.data(), static_cast<std::size_t>(count));
    if (const auto result = walk(datagram, sequence, handle)) return *result;
  }
}

int NetlinkSocket::commit(std::uint16_t subsystem, std::vector<NetlinkMessage>& messages) {
  nfgenmsg header{};
  header.version = NFNETLINK_V0;
  header.res_id = htons(subsystem);
  NetlinkMessage begin(NFNL_MSG_BATCH_BEGIN, 0);
  NetlinkMessage end(NFNL_MSG_BATCH_END, 0);
  begin.header(header);
  end.header(header);
  // Only the last message is acknowledged, once the batch has been committed. A message that fails
  // is reported under its own number, so all of them have the same.
  messages.back().request_acknowledgement();
  const std::uint32_t sequence = ++sequence_;
  std::vector<std::byte> bytes;
  const auto append = [&](NetlinkMessage& message) {
    const auto part = message.finish(sequence);
    bytes.insert(bytes.end(), part.begin(), part.end());
  };
  append(begin);
  for (NetlinkMessage& message : messages) append(message);
  append(end);
  if (::send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) return errno;
  return receive(sequence, [](std::uint16_t, std::span<const std::byte>) {});
}

std::optional<std::uint64_t> NetlinkSocket::netns_cookie() const {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0)
    return std::nullopt;
  return cookie;
}

bool NetlinkSocket::read_events(const Handler& handle, std::size_t limit) {
  std::array<std::byte, kReceiveBytes> buffer;
  bool complete = true;
  for (std::size_t i = 0; i < limit; ++i) {
    const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count < 0 && errno == ENOBUFS) {
      complete = false;
      continue;
    }
    if (count < 0) break;
    walk(std::span(buffer).first(static_cast<std::size_t>(count)), 0,
         handle);  // events have no number
  }
  return complete;
}

void NetlinkSocket::set_receive_buffer(int bytes) {
  if (::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

void NetlinkSocket::drain() {
  std::array<std::byte, kReceiveBytes> buffer;
  while (::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT) >= 0) {
  }
}

}  // namespace droptrace
