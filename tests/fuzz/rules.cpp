// SPDX-License-Identifier: GPL-2.0-only
// What nft, iptables-save and the kernel print of rules, and the files of the node. The first byte
// says which of them it is.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "core/cluster.h"
#include "core/kube_iptables.h"
#include "core/pod_files.h"
#include "core/ruleset.h"
#include "core/services.h"

using namespace droptrace;

namespace {

void read_binary_table(std::string_view bytes) {
  XtLayout layout;
  if (bytes.size() < sizeof(layout)) return;
  std::memcpy(&layout, bytes.data(), sizeof(layout));
  bytes.remove_prefix(sizeof(layout));
  for (const NfFamily family : {NfFamily::kIp, NfFamily::kIp6})
    parse_xt_entries(std::as_bytes(std::span(bytes)), layout, family);
}

void read_files(std::string_view text) {
  pod_from_cni_cache(text);
  container_from_config(text);
  sandbox_from_lease(text);
  pod_from_log_directory(text);
  cidrs_from_kubeadm_conf(text);
  cidrs_from_manifest(text);
  cidrs_from_kube_proxy_conf(text);
  cidrs_from_kindnetd_environ(text);
  pod_cidrs_from_conflist(text);
}

void read_services(std::string_view text) {
  ServicesBuilder builder;
  KubeIptablesReader reader(builder, false);
  reader.feed(text.substr(0, text.size() / 2));
  reader.feed(text.substr(text.size() / 2));
  reader.finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 5) {
    case 0: {
      const std::size_t middle = std::min(text.find('\0'), text.size());
      parse_nft(text.substr(0, middle), text.substr(middle));
      break;
    }
    case 1:
      parse_iptables_save(text, data[0] < 128 ? NfFamily::kIp : NfFamily::kIp6);
      break;
    case 2:
      read_binary_table(text);
      break;
    case 3:
      read_files(text);
      break;
    default:
      read_services(text);
  }
  return 0;
}
