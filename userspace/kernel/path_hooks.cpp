// SPDX-License-Identifier: GPL-2.0-only
#include "kernel/path_hooks.h"

#include <cerrno>
#include <string_view>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "droptrace/path.h"
#include "droptrace_path.skel.h"

#include "kernel/error.h"
#include "kernel/try_program.h"

namespace droptrace {

namespace {

constexpr std::string_view kSection = "tp_btf/";

bool is_own(std::string_view map) {
  return map.starts_with("dt_path_") || map.ends_with(".rodata") || map.ends_with(".bss");
}

}  // namespace

struct PathHooks::State {
  droptrace_path* skeleton = nullptr;
  std::unique_ptr<RecordRing> ring;

  ~State() { droptrace_path__destroy(skeleton); }
};

PathHooks::PathHooks(const WatchMaps& maps, const BpfOptions& options, const KernelTypes& types)
    : state_(std::make_unique<State>()) {
  load(maps, options, types);
  state_->ring = RecordRing::open(bpf_map__fd(state_->skeleton->maps.dt_path_records));
  if (!state_->ring) throw Error("cannot map its ring buffer: " + errno_text(errno));
}

PathHooks::~PathHooks() = default;

void PathHooks::load(const WatchMaps& maps, const BpfOptions& options, const KernelTypes& types) {
  state_->skeleton = droptrace_path__open();
  if (!state_->skeleton) throw Error("cannot be opened: " + errno_text(errno));
  bpf_object* const object = state_->skeleton->obj;
  state_->skeleton->rodata->dt_path_config.filter_netns = options.filter_netns ? 1 : 0;
  state_->skeleton->rodata->dt_path_config.filter_cidrs = options.filter_cidrs ? 1 : 0;
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (!is_own(bpf_map__name(map))) bpf_map__set_autocreate(map, false);
  }
  const auto& shared = state_->skeleton->maps;
  if (const int error = maps.share(shared.dt_netns, shared.dt_cidrs4, shared.dt_cidrs6))
    throw Error("cannot share the maps of what is watched: " + errno_text(error));
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object) {
    const std::string_view section = bpf_program__section_name(program);
    if (!section.starts_with(kSection)) continue;
    const bool exists = types.tracepoints.contains(section.substr(kSection.size()));
    bpf_program__set_autoload(program, exists);
    programs_[bpf_program__name(program)] =
        exists ? "attached" : "this kernel does not have the tracepoint";
  }
  bpf_program* const hook = state_->skeleton->progs.dt_path_hook;
  const int refused = types.nf_hook_slow
                          ? try_program(BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT, *types.nf_hook_slow)
                          : ENOENT;
  bpf_program__set_autoload(hook, refused == 0);
  bpf_program__set_autoattach(hook, false);
  if (const int error = droptrace_path__load(state_->skeleton))
    throw Error("cannot be loaded: " + errno_text(-error));
  if (const int error = droptrace_path__attach(state_->skeleton))
    throw Error("cannot be attached: " + errno_text(-error));
  programs_[bpf_program__name(hook)] = refused == 0 ? attach_hook() : errno_text(refused);
}

// Returns what has become of it: it only says more of what the others see, too.
std::string PathHooks::attach_hook() {
  droptrace_path& skeleton = *state_->skeleton;
  skeleton.links.dt_path_hook = bpf_program__attach(skeleton.progs.dt_path_hook);
  return skeleton.links.dt_path_hook ? "attached" : errno_text(errno);
}

int PathHooks::epoll_fd() const { return state_->ring->epoll_fd(); }

void PathHooks::consume(const RecordRing::Handle& handle) {
  if (!state_->ring->consume(handle))
    throw Error("cannot read the path's ring buffer: " + errno_text(errno));
}

std::uint64_t PathHooks::lost() const {
  std::uint64_t lost = 0;
  std::vector<dt_path_stats> per_cpu(static_cast<std::size_t>(libbpf_num_possible_cpus()));
  const std::uint32_t key = 0;
  if (bpf_map__lookup_elem(state_->skeleton->maps.dt_path_stats, &key, sizeof(key), per_cpu.data(),
                           per_cpu.size() * sizeof(dt_path_stats), 0) == 0) {
    for (const dt_path_stats& stats : per_cpu) lost += stats.lost;
  }
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, state_->skeleton->obj) {
    bpf_prog_info info{};
    std::uint32_t size = sizeof(info);
    if (bpf_program__autoload(program) &&
        bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size) == 0)
      lost += info.recursion_misses;
  }
  return lost;
}

}  // namespace droptrace
