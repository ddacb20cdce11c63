// SPDX-License-Identifier: GPL-2.0-only
// droptrace takes pcap_compile from libpcap and captures nothing, but the archive's list of devices
// to capture from names the code of every kind of them, and that of D-Bus brings in all of libdbus.
// Each kind answers here that no device is its own, as pcap-int.h wants it, and is never asked.
#include <stddef.h>

struct pcap;
struct pcap_if_list;

#define NO_DEVICES(kind)                                                      \
  struct pcap* kind##_create(const char* device, char* error, int* is_ours);  \
  int kind##_findalldevs(struct pcap_if_list* devices, char* error);          \
  struct pcap* kind##_create(const char* device, char* error, int* is_ours) { \
    (void)device;                                                             \
    (void)error;                                                              \
    *is_ours = 0;                                                             \
    return NULL;                                                              \
  }                                                                           \
  int kind##_findalldevs(struct pcap_if_list* devices, char* error) {         \
    (void)devices;                                                            \
    (void)error;                                                              \
    return 0;                                                                 \
  }

NO_DEVICES(bt)
NO_DEVICES(bt_monitor)
NO_DEVICES(dbus)
NO_DEVICES(netfilter)
NO_DEVICES(usb)
