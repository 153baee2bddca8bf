// PNG pictures in memory, by libpng. Every error that libpng would end the process with comes back as a
// text; no call jumps out of these functions.
#ifndef ABN_PNG_H
#define ABN_PNG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { ABN_PNG_MESSAGE_BYTES = 256 };

/// What the header says.
typedef struct {
  uint32_t width;
  uint32_t height;
  /// Bytes of a decoded pixel: 1 grey, 2 grey and alpha, 3 red, green, blue, 4 these and alpha. Palettes
  /// are colours then, and every depth is 8 bits.
  uint32_t channels;
} abn_png_header;

/// Reads the header of the `count` bytes and what stands before the pixels. 0, or another number with the
/// reason in `message`, which has room for ABN_PNG_MESSAGE_BYTES.
int abn_png_probe(const uint8_t *bytes, size_t count, abn_png_header *header, char *message);

/// Decodes to rows from the top, pixel by pixel. `header` is what abn_png_probe said, and `out_bytes` the size
/// that follows from it. A wrong checksum of what the picture needs, and an end before the picture's, are errors.
int abn_png_decode(const uint8_t *bytes, size_t count, const abn_png_header *header, uint8_t *out,
                   size_t out_bytes, char *message);

/// What kinds of samples a PNG has.
enum {
  ABN_PNG_GREY = 1,
  /// Numbers of colours.
  ABN_PNG_PALETTE = 2,
  /// Red, green and blue, with alpha or without.
  ABN_PNG_COLOURS = 3,
  ABN_PNG_GREY_ALPHA = 4
};

/// What the header says of the samples as they are stored.
typedef struct {
  uint32_t width;
  uint32_t height;
  /// One of those above.
  uint32_t kind;
  /// Bits of a sample.
  uint32_t bits;
  /// The colours of the palette, red, green and blue of each.
  uint32_t colour_count;
  uint8_t colours[3 * 256];
} abn_png_stored_header;

/// As abn_png_probe, of the samples as they are stored.
int abn_png_probe_stored(const uint8_t *bytes, size_t count, abn_png_stored_header *header, char *message);

/// As abn_png_decode, but for what samples mean: numbers of a palette stay numbers, 1, 2 and 4 bits stay the
/// numbers that they are, a byte for each; colours are three bytes without their alpha. For samples of at most 8
/// bits that are grey, of a palette, or colours.
int abn_png_decode_stored(const uint8_t *bytes, size_t count, const abn_png_stored_header *header, uint8_t *out,
                          size_t out_bytes, char *message);

/// Encodes rows of numbers of `colour_count` colours, red, green and blue of each; every number is below that.
int abn_png_encode_palette(const uint8_t *pixels, uint32_t width, uint32_t height, const uint8_t *colours,
                           uint32_t colour_count, uint8_t **out, size_t *out_bytes, char *message);

/// Encodes rows of 1, 2, 3 or 4 bytes a pixel. `*out` is to be freed with abn_png_free.
int abn_png_encode(const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels,
                   uint8_t **out, size_t *out_bytes, char *message);

void abn_png_free(uint8_t *bytes);

#ifdef __cplusplus
}
#endif
#endif
