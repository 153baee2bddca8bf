// JPEG pictures in memory, by libjpeg. Every error that libjpeg would end the process with comes back as
// a text; no call jumps out of these functions.
#ifndef ABN_JPEG_H
#define ABN_JPEG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { ABN_JPEG_MESSAGE_BYTES = 256 };

/// What the header says.
typedef struct {
  uint32_t width;
  uint32_t height;
  /// Bytes of a decoded pixel: 1 grey, 3 red, green, blue, 4 cyan, magenta, yellow, black, all four
  /// inverted (255 is no ink).
  uint32_t channels;
} abn_jpeg_header;

/// Reads the header of the `count` bytes. 0, or another number with the reason in `message`, which has
/// room for ABN_JPEG_MESSAGE_BYTES.
int abn_jpeg_probe(const uint8_t *bytes, size_t count, abn_jpeg_header *header, char *message);

/// Decodes to rows from the top, pixel by pixel, at 1/`denominator` of the size (1, 2, 4 or 8; each side
/// is rounded up). `header` is what abn_jpeg_probe said, and `out_bytes` the size that follows from it. Data
/// that end early or are damaged are an error, where libjpeg would fill the rest with grey.
int abn_jpeg_decode(const uint8_t *bytes, size_t count, const abn_jpeg_header *header,
                    unsigned denominator, uint8_t *out, size_t out_bytes, char *message);

/// Encodes rows of `channels` bytes a pixel, as abn_jpeg_decode gives them; `quality` 1 to 100. `*out` is
/// to be freed with abn_jpeg_free.
int abn_jpeg_encode(const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels,
                    int quality, int progressive, uint8_t **out, size_t *out_bytes, char *message);

void abn_jpeg_free(uint8_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
