from __future__ import annotations

from dataclasses import replace

from missing_card import Evidence, held

# The 32nd return of the microphone, as it was found.
LOOKED = """\
== PCI devices: maker, kind, driver
0000:00:03.0 0x1b36 0x000d xhci_hcd
0000:00:04.0 0x1274 0x5000
== /proc/asound/cards
 1 [Audio          ]: USB-Audio - QEMU USB Audio
== open descriptors of the daemon
3 /memfd:libffi (deleted)
9 /dev/snd/pcmC1D0p
15 /run/parleyd/control.sock.lock
"""
NO_CARD = Evidence(plugged=True, card=None, opens=False, held=held(LOOKED))
ALL_WELL = Evidence(plugged=True, card=0, opens=True, held=("/dev/snd/pcmC1D0p", "/dev/snd/timer"))


def test_the_daemons_files_are_those_of_sound_cards() -> None:
    assert held(LOOKED) == ("/dev/snd/pcmC1D0p",)
    assert held(LOOKED + "20 /dev/snd/pcmC0D0c (deleted)\n")[1:] == ("/dev/snd/pcmC0D0c (deleted)",)


def test_a_card_that_the_kernel_does_not_make_is_the_machines_fault() -> None:
    assert NO_CARD.fault_of_the_machine() == (
        "qemu has it on its bus, but the machine's kernel makes no sound card of it"
    )
    assert replace(NO_CARD, plugged=False).fault_of_the_machine() == "qemu does not have it on its bus"


def test_a_card_that_opens_for_nobody_is_the_machines_fault() -> None:
    assert replace(ALL_WELL, opens=False).fault_of_the_machine() == (
        "it is card 0 of the machine, but no other program can open it either"
    )


def test_a_card_that_opens_for_others_is_ours_to_find() -> None:
    assert ALL_WELL.fault_of_the_machine() is None


def test_who_holds_a_card_that_was_pulled_out_is_to_blame_whatever_is_missing() -> None:
    gone = (*NO_CARD.held, "/dev/snd/pcmC0D0c (deleted)")
    assert replace(NO_CARD, held=gone).fault_of_the_machine() is None
    assert replace(NO_CARD, plugged=False, held=gone).fault_of_the_machine() is None


def test_a_card_that_the_daemon_itself_keeps_busy_is_ours() -> None:
    for file in ("/dev/snd/pcmC0D0c", "/dev/snd/controlC0"):
        assert replace(ALL_WELL, opens=False, held=(file,)).fault_of_the_machine() is None
    assert replace(ALL_WELL, card=1, opens=False, held=("/dev/snd/pcmC10D0c",)).fault_of_the_machine() is not None
