// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/kernel_types.h"

#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "kernel/error.h"
#include "kernel/files.h"

namespace droptrace {

namespace {

constexpr const char* kBtfDirectory = "/sys/kernel/btf/";

struct BtfDeleter {
  void operator()(btf* types) const { btf__free(types); }
};
using BtfPtr = std::unique_ptr<btf, BtfDeleter>;

KernelEnum read_enum(const btf* types, const btf_type* type) {
  KernelEnum result;
  result.name = btf__name_by_offset(types, type->name_off);
  const auto* values = btf_enum(type);
  for (unsigned i = 0; i < btf_vlen(type); ++i) {
    const char* name = btf__name_by_offset(types, values[i].name_off);
    result.values.emplace_back(name, static_cast<std::uint32_t>(values[i].val));
  }
  return result;
}

// Every enum with "drop_reason" in its name: skb_drop_reason, skb_drop_reason_subsys, and those of
// subsystems (mac80211_drop_reason, ovs_drop_reason, …).
void collect_enums(const btf* types, unsigned first_id, std::vector<KernelEnum>& enums) {
  const unsigned count = btf__type_cnt(types);
  for (unsigned id = first_id; id < count; ++id) {
    const btf_type* type = btf__type_by_id(types, id);
    if (!btf_is_enum(type)) continue;
    const std::string_view name = btf__name_by_offset(types, type->name_off);
    if (name.find("drop_reason") != std::string_view::npos) enums.push_back(read_enum(types, type));
  }
}

// A typedef of a pointer to a function: void *data, then the tracepoint's arguments.
unsigned tracepoint_arguments(const btf* types, const char* tracepoint) {
  const int id = btf__find_by_name_kind(types, tracepoint, BTF_KIND_TYPEDEF);
  if (id < 0)
    throw Error(std::string("cannot trace: this kernel's BTF has no ") + tracepoint +
                    ": it needs the skb:kfree_skb tracepoint (CONFIG_TRACEPOINTS)",
                kExitUnsupported);
  const btf_type* type = btf__type_by_id(types, static_cast<unsigned>(id));
  type = btf__type_by_id(types, type->type);  // pointer
  type = btf__type_by_id(types, type->type);  // function prototype
  return btf_vlen(type) - 1;
}

std::set<std::string, std::less<>> read_tracepoints(const btf* types) {
  constexpr std::string_view kPrefix = "btf_trace_";
  std::set<std::string, std::less<>> names;
  const unsigned count = btf__type_cnt(types);
  for (unsigned id = 1; id < count; ++id) {
    const btf_type* type = btf__type_by_id(types, id);
    if (!btf_is_typedef(type)) continue;
    const std::string_view name = btf__name_by_offset(types, type->name_off);
    if (name.starts_with(kPrefix)) names.emplace(name.substr(kPrefix.size()));
  }
  return names;
}

bool has_module_types(const char* module) {
  return ::access((std::string(kBtfDirectory) + module).c_str(), R_OK) == 0;
}

std::optional<unsigned> function_arguments(const btf* types, const char* function) {
  const int id = btf__find_by_name_kind(types, function, BTF_KIND_FUNC);
  if (id < 0) return std::nullopt;
  return btf_vlen(btf__type_by_id(types, btf__type_by_id(types, static_cast<unsigned>(id))->type));
}

// types: of the kernel or of the module, where nf_tables is.
void read_nft_types(const btf* types, KernelTypes& result) {
  if (btf__find_by_name_kind(types, "nft_rule_dp", BTF_KIND_STRUCT) > 0)
    result.nft_trace_arguments = function_arguments(types, "__nft_trace_packet");
}

}  // namespace

KernelTypes read_kernel_types() {
  // Not btf__load_vmlinux_btf(), which reads it in pieces of a page.
  const auto bytes = read_file(std::string(kBtfDirectory) + "vmlinux");
  if (!bytes)
    throw Error("cannot trace: " + std::string(kBtfDirectory) + "vmlinux: " + errno_text(errno) +
                    ": the kernel needs CONFIG_DEBUG_INFO_BTF=y, and /sys must be mounted",
                kExitUnsupported);
  const BtfPtr vmlinux(btf__new(bytes->data(), static_cast<std::uint32_t>(bytes->size())));
  if (!vmlinux)
    throw Error("cannot trace: the kernel's BTF cannot be read: " + errno_text(errno),
                kExitUnsupported);
  KernelTypes result;
  result.kfree_skb_has_reason = tracepoint_arguments(vmlinux.get(), "btf_trace_kfree_skb") >= 3;
  result.has_conntrack = btf__find_by_name_kind(vmlinux.get(), "nf_conn", BTF_KIND_STRUCT) > 0;
  result.tracepoints = read_tracepoints(vmlinux.get());
  collect_enums(vmlinux.get(), 1, result.drop_reason_enums);
  const int hook = btf__find_by_name_kind(vmlinux.get(), "nf_hook_slow", BTF_KIND_FUNC);
  if (hook > 0) result.nf_hook_slow = static_cast<std::uint32_t>(hook);
  result.has_nf_queue = function_arguments(vmlinux.get(), "nf_queue").has_value();
  read_nft_types(vmlinux.get(), result);
  if (has_module_types("nf_tables")) {
    const BtfPtr types(btf__load_module_btf("nf_tables", vmlinux.get()));
    if (types) read_nft_types(types.get(), result);
  }
  for (const char* module : {"mac80211", "openvswitch"}) {
    if (!has_module_types(module)) continue;
    const BtfPtr types(btf__load_module_btf(module, vmlinux.get()));
    if (types) collect_enums(types.get(), btf__type_cnt(vmlinux.get()), result.drop_reason_enums);
  }
  return result;
}

}  // namespace droptrace
