// SPDX-License-Identifier: GPL-2.0-only
// Static libdbus (a dependency of static libpcap) refers to these two functions of libsystemd,
// which Debian has no archive of. droptrace never opens D-Bus, so nothing calls them: they say "no
// socket was passed".
int sd_listen_fds(int unset_environment);
int sd_is_socket(int fd, int family, int type, int listening);

int sd_listen_fds(int unset_environment) {
  (void)unset_environment;
  return 0;
}

int sd_is_socket(int fd, int family, int type, int listening) {
  (void)fd;
  (void)family;
  (void)type;
  (void)listening;
  return 0;
}
