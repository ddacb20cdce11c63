// SPDX-License-Identifier: GPL-2.0-only
// Reading small files and directories of /proc, /sys and the node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace droptrace {

// Calls consume with the file's bytes, piece by piece. False, with errno set, if it cannot be read.
bool read_pieces(const std::string& path, const std::function<void(std::string_view)>& consume);

// The whole file; nullopt, with errno set, if it cannot be read.
std::optional<std::string> read_file(const std::string& path);

// The same of a file that others write at will: nullopt if it is no regular file or has more bytes.
// Never waits, as opening a pipe would.
std::optional<std::string> read_bounded(const std::string& path, std::size_t most_bytes);

// A file that holds one unsigned number, such as a sysctl.
std::optional<unsigned> read_number(const std::string& path);

// Names in a directory, without "." and ".."; empty if there is no such directory. At most so many.
std::vector<std::string> list_directory(const std::string& path,
                                        std::size_t most = std::numeric_limits<std::size_t>::max());

// Process ids visible in /proc.
std::vector<std::string> list_processes();

// Inode number of what the path leads to.
std::optional<std::uint32_t> inode_of(const std::string& path);

}  // namespace droptrace
