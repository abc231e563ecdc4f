"""What readers of transport cards do."""

from host import PURSE, find, h, objects
from world import group


def answer_with_le(reader, command, le):
    """What readers do with 61xx and 6Cxx."""
    answer, status = reader.raw(command + (bytes([le % 256]) if le is not None else b""))
    if status >> 8 == 0x6C:
        answer, status = reader.raw(command + bytes([status & 0xFF]))
    while status >> 8 == 0x61:
        more, status = reader.raw(bytes([command[0] & 3, 0xC0, 0, 0, status & 0xFF]))
        answer += more
    return answer, status


@group
def transit(world):
    """What transit readers read of a transport card, in the clear, and how they ask for it."""
    for interface in ("contactless", "contact"):
        r = world.reader(interface)
        ppse = world.status("PPSE", r.raw("00A404000E325041592E5359532E444446303100"), [0x9000, 0x6A82])
        if ppse:
            names = [find(v, "4F") for t, v in objects(find(ppse, "6F", "A5", "BF0C")) if t == "61"]
            world.same("the directory lists the purse", PURSE in names, True)
        # What readers try first, on a card of another kind.
        for text in (
            "00B0840020",
            "00A40000023F00",
            "00A4040009A00000000386980701",
            "00A40400075041592E535A54",
            "00A404000E315041592E5359532E4444463031",
            "00A4000002100100",
            "00A40400085041592E41505059",
        ):
            _, status = r.raw(text)
            world.same(f"{text} is refused", status >> 8 in (0x6A, 0x6D, 0x69, 0x6E, 0x67), True)
        fci = world.status("the purse", r.raw("00A4040008A000000632010105"), 0x9000)
        world.same("with and without Le", r.raw("00A4040008A00000063201010500"), (fci, 0x9000))
        world.same("its name", find(fci, "6F", "84"), PURSE)
        information = find(fci, "6F", "A5", "9F0C")
        world.same("EF15 is in the FCI", len(information), 30)
        for sfi, size in ((0x15, 30), (0x16, 55), (0x17, 60)):
            head = bytes([0, 0xB0, 0x80 | sfi, 0])
            whole = answer_with_le(r, head, size)
            world.same(f"EF{sfi:02X} with the exact Le", (len(whole[0]), whole[1]), (size, 0x9000))
            world.same(f"EF{sfi:02X} with Le 00", answer_with_le(r, head, 0), whole)
            without = answer_with_le(r, head, None)
            world.same(f"EF{sfi:02X} without Le", without == whole or without[1] == 0x6700, True)
            world.same(f"EF{sfi:02X} in part", answer_with_le(r, head, 11), (whole[0][:11], 0x9000))
            world.same(
                f"EF{sfi:02X} from within",
                answer_with_le(r, bytes([0, 0xB0, 0x80 | sfi, 4]), 8),
                (whole[0][4:12], 0x9000),
            )
            longer = r.raw(head + bytes([size + 10]))
            world.same(
                f"EF{sfi:02X} with a longer Le",
                longer[1] in (0x9000, 0x6282, 0x6700) or longer[1] >> 8 == 0x6C,
                True,
            )
            if sfi == 0x15:
                world.same("EF15 is what the FCI says", whole[0], information)
        world.same("EF15 begins with the issuer", information[8:10], h("0201"))
        world.status("beyond the end", r.raw("00B0951F01"), [0x6B00, 0x6A86, 0x6282])
        world.status("no such file", r.raw("00B0990001"), [0x6A82])
        for p1 in range(4):
            answer = r.raw(bytes([0x80, 0x5C, p1, 2, 4]))
            world.same(f"GET BALANCE P1 {p1:02X}", (len(answer[0]), answer[1]), (4, 0x9000))
            world.same("and Le 00", answer_with_le(r, bytes([0x80, 0x5C, p1, 2]), 0), answer)
        world.same("usable and purse balance", r.raw("805C000204"), r.raw("805C030204"))
        balance = int.from_bytes(r.raw("805C000204")[0], "big")
        world.same("a balance", 0 < balance < 1_000_000, True)
        world.status("the ED balance", r.raw("805C000104"), [0x9000, 0x6A86, 0x9401, 0x6A81, 0x6985, 0x9403])
        # The log and the journeys.
        for sfi, count, size in ((0x18, 10, 23), (0x1E, 30, 48)):
            records = []
            for n in range(1, count + 1):
                head = bytes([0, 0xB2, n, sfi << 3 | 4])
                exact = answer_with_le(r, head, size)
                world.same(f"EF{sfi:02X} record {n}", (len(exact[0]), exact[1]), (size, 0x9000))
                world.same("with Le 00", answer_with_le(r, head, 0), exact)
                without = answer_with_le(r, head, None)
                world.same("without Le", without == exact or without[1] == 0x6700, True)
                records.append(exact[0])
            world.status(
                f"EF{sfi:02X} ends", answer_with_le(r, bytes([0, 0xB2, count + 1, sfi << 3 | 4]), 0), 0x6A83
            )
            world.status(
                "record 0",
                answer_with_le(r, bytes([0, 0xB2, 0, sfi << 3 | 4]), 0),
                [0x6A83, 0x6A86, 0x6A80, 0x6985],
            )
            world.same(
                "the newest is first",
                records == sorted(records, key=lambda x: x[16:23] if sfi == 0x18 else x[25:32], reverse=True),
                True,
            )
            together, status = answer_with_le(r, bytes([0, 0xB2, 1, sfi << 3 | 5]), 0)
            world.same("all records at once", status in (0x9000, 0x6A81, 0x6A86, 0x6282), True)
            if status == 0x9000:
                world.same(
                    "are those", b"".join(records).startswith(together) and len(together) >= size, True
                )
        # A real card has all records of EF1A from the start.
        for n in range(1, 19):
            head = bytes([0, 0xB2, n, 0x1A << 3 | 4])
            answer = answer_with_le(r, head, 0)
            want = {7: 112, 13: 30}.get(n, 128)
            world.same(f"EF1A record {n}", (len(answer[0]), answer[1]), (want, 0x9000))
            world.same("with the exact Le", answer_with_le(r, head, want), answer)
            world.same("by its identifier", answer_with_le(r, bytes([0, 0xB2, n, 0x1A << 3]), 0), answer)
            world.same("begins with its identifier", answer[0][:2], bytes([0x27, n]))
        world.status("EF1A ends", r.raw("00B213D400"), 0x6A83)
        # INITIALIZE FOR LOAD, only to see the online counter; and back.
        answer = r.raw("805000020B01000000010000000000" "00" "10")
        world.same("INITIALIZE FOR LOAD", (len(answer[0]), answer[1]), (16, 0x9000))
        world.same("tells the balance", int.from_bytes(answer[0][:4], "big"), balance)
        world.same("with Le 00", len(answer_with_le(r, h("805000020B0100000001000000000000"), 0)[0]), 16)
        answer = r.raw("805001020B01000000010000000000000F")
        world.same("INITIALIZE FOR PURCHASE", (len(answer[0]), answer[1]), (15, 0x9000))
        answer = r.raw("805003020B01000000010000000000000F")
        world.same("INITIALIZE FOR CAPP PURCHASE", (len(answer[0]), answer[1]), (15, 0x9000))
        world.status(
            "a wrong MAC1",
            r.raw("805401000F" "00000001" "20261121" "120000" "00000000" "08"),
            [0x9302, 0x6988],
        )
        world.status(
            "GET TRANSACTION PROVE of nothing", r.raw("805A00090200" "0008"), [0x9406, 0x6A88, 0x6985]
        )
        challenges = [r.raw("0084000004")[0], r.raw("0084000008")[0], answer_with_le(r, h("00840000"), 0)[0]]
        world.same("GET CHALLENGE", [len(c) for c in challenges][:2], [4, 8])
        world.status(
            "an update without MAC",
            r.raw("00DC01F430" + "00" * 48),
            [0x6982, 0x6E00, 0x6985, 0x6988, 0x6987, 0x6D00],
        )
        world.status(
            "an update with a wrong MAC",
            r.raw("04D6950004" + "00" * 4),
            [0x6988, 0x6982, 0x6985, 0x6984, 0x6700],
        )
        world.same("the balance is as it was", int.from_bytes(r.raw("805C000204")[0], "big"), balance)
        world.status("an unknown class", r.raw("905C000204"), [0x6E00, 0x6884])
        world.status("an unknown command", r.raw("80FF000000"), 0x6D00)
        r.close()
