// SPDX-License-Identifier: GPL-2.0-only
// As much of HTTP/1.1 (RFC 9112) as a page of figures needs: one request for one connection.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace droptrace {

constexpr std::size_t kHttpRequestMost = 8192;

// The answer to what a client has sent so far; nullopt: the request is not complete yet. page:
// what is at /metrics.
std::optional<std::string> http_answer(std::string_view request, std::string_view page);

// True once http_answer would answer: so that a page is made only then.
bool http_complete(std::string_view request);

}  // namespace droptrace
