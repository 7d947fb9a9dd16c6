"""Reads the dirty extents of a view, and nothing else, into an image: URI, metadata context, path of the image."""

import sys

import nbd

uri, context, path = sys.argv[1:]
MAX_READ_BYTES = 1 << 20

client = nbd.NBD()
client.add_meta_context(context)
client.connect_uri(uri)
size = client.get_size()
dirty_bytes = 0
position = 0


def status(metacontext, offset, entries, error):
    """Keeps what one answer says: pairs of length and flags."""
    global extents
    assert metacontext == context, metacontext
    extents = list(zip(entries[0::2], entries[1::2]))


with open(path, "r+b") as image:
    while position < size:
        extents = []
        client.block_status(size - position, position, status)
        assert extents
        for length, flags in extents:
            end = position + length
            while flags == 1 and position < end:
                data = client.pread(min(MAX_READ_BYTES, end - position), position)
                image.seek(position)
                image.write(data)
                position += len(data)
                dirty_bytes += len(data)
            position = end
client.shutdown()
print(dirty_bytes)
