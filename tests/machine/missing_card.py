"""A card that was plugged into the machine and is not back: what is looked at there, and whose fault it is. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

# For bash in the machine; {pid} is the daemon's.
LOOK = """\
echo '== PCI devices: maker, kind, driver'
cd /sys/bus/pci/devices; for d in *; do echo $d $(cat $d/vendor $d/device) $(basename "$(readlink $d/driver)"); done
echo '== USB devices'
cd /sys/bus/usb/devices; for p in */product; do echo $(dirname $p) $(cat $p); done
echo '== /proc/asound/cards'; cat /proc/asound/cards
echo '== /dev/snd'; ls -l /dev/snd
echo '== open descriptors of the daemon'
for f in /proc/{pid}/fd/*; do echo $(basename $f) $(readlink $f); done
echo '== the last words of the kernel'; dmesg | tail -n 25
"""
# Another program with the daemon's rights; ends with 0 if a second of sound goes through.
OPEN = (
    "systemd-run -q --pipe --uid=parleyd -p SupplementaryGroups=audio timeout 15 "
    "{program} -q -D hw:{card},0 -f S16_LE -c 2 -r 48000 -d 1 {file}"
)


@dataclass(frozen=True)
class Evidence:
    """plugged: qemu has the device; card: its number, None if udev has given no file of it to the group audio;
    opens: for another program; held: files in /dev/snd that the daemon has open."""

    plugged: bool
    card: int | None
    opens: bool
    held: tuple[str, ...]

    def fault_of_the_machine(self) -> str | None:
        """In words; None if the daemon is to blame."""
        # The kernel keeps a card that was pulled out until the last of its files is closed.
        if any(file.endswith("(deleted)") or _card_of(file) == self.card for file in self.held):
            return None
        if not self.plugged:
            return "qemu does not have it on its bus"
        if self.card is None:
            return "qemu has it on its bus, but the machine's kernel makes no sound card of it"
        if not self.opens:
            return f"it is card {self.card} of the machine, but no other program can open it either"
        return None


def held(looked: str) -> tuple[str, ...]:
    """The files in /dev/snd that the daemon has open, from what LOOK wrote."""
    return tuple(re.findall(r"^\d+ (/dev/snd/.*)$", looked, re.MULTILINE))


def _card_of(file: str) -> int:
    """-1: of no card in particular."""
    found = re.search(r"C(\d+)(?:D\d+[pc]?)?$", file)
    return int(found[1]) if found else -1
