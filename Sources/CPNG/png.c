#include "abn_png.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const uint8_t *bytes;
  size_t count, place;
} source;

typedef struct {
  uint8_t *bytes;
  size_t count, room;
} sink;

static void fail(png_structp png, png_const_charp text) {
  snprintf(png_get_error_ptr(png), ABN_PNG_MESSAGE_BYTES, "%s", text);
  longjmp(png_jmpbuf(png), 1);
}

static void be_silent(png_structp png, png_const_charp text) {
  (void)png;
  (void)text;
}

static void take(png_structp png, png_bytep to, size_t count) {
  source *from = png_get_io_ptr(png);
  if (count > from->count - from->place) png_error(png, "the file ends early");
  memcpy(to, from->bytes + from->place, count);
  from->place += count;
}

static int refuse(char *message, const char *text) {
  snprintf(message, ABN_PNG_MESSAGE_BYTES, "%s", text);
  return 1;
}

// Texts and profiles may be compressed, and are not needed.
static void pass_over_texts(png_structp png) {
#ifdef PNG_HANDLE_AS_UNKNOWN_SUPPORTED
  static const png_byte names[] = "iCCP\0zTXt\0iTXt\0tEXt\0sPLT\0hIST\0pCAL\0sCAL\0tIME\0eXIf";
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, names, sizeof names / 5);
#endif
}

// Reads the header, and says what the pixels will be without making room for a row of them: a few bytes may
// ask for rows of a gibibyte.
static void read_header(png_structp png, png_infop info, abn_png_header *header) {
  png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
  pass_over_texts(png);
  png_read_info(png, info);
  int type = png_get_color_type(png, info);
  int has_alpha = (type & PNG_COLOR_MASK_ALPHA) || png_get_valid(png, info, PNG_INFO_tRNS);
  header->width = png_get_image_width(png, info);
  header->height = png_get_image_height(png, info);
  header->channels = (type & PNG_COLOR_MASK_COLOR ? 3 : 1) + (has_alpha ? 1 : 0);
}

// Opens the bytes and calls `body`, which may leave by png_error().
static int read_with(const uint8_t *bytes, size_t count, char *message,
                     void (*body)(png_structp, png_infop, void *), void *context) {
  source from = {bytes, count, 0};
  message[0] = 0;
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, message, fail, be_silent);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  if (!info) {
    png_destroy_read_struct(&png, NULL, NULL);
    return refuse(message, "no memory");
  }
  if (setjmp(png_jmpbuf(png))) {
    png_destroy_read_struct(&png, &info, NULL);
    return 1;
  }
  png_set_read_fn(png, &from, take);
  body(png, info, context);
  png_destroy_read_struct(&png, &info, NULL);
  return 0;
}

// What a decoder is given.
typedef struct {
  const void *header;
  uint8_t *out;
  size_t out_bytes;
} target;

static void probe(png_structp png, png_infop info, void *header) { read_header(png, info, header); }

int abn_png_probe(const uint8_t *bytes, size_t count, abn_png_header *header, char *message) {
  return read_with(bytes, count, message, probe, header);
}

static void read_stored_header(png_structp png, png_infop info, abn_png_stored_header *header) {
  png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
  pass_over_texts(png);
  png_read_info(png, info);
  memset(header, 0, sizeof *header);
  header->width = png_get_image_width(png, info);
  header->height = png_get_image_height(png, info);
  header->bits = png_get_bit_depth(png, info);
  int type = png_get_color_type(png, info);
  header->kind = type == PNG_COLOR_TYPE_GRAY      ? ABN_PNG_GREY
                 : type == PNG_COLOR_TYPE_PALETTE ? ABN_PNG_PALETTE
                 : type & PNG_COLOR_MASK_COLOR    ? ABN_PNG_COLOURS
                                                  : ABN_PNG_GREY_ALPHA;
  png_colorp palette;
  int count;
  if (header->kind != ABN_PNG_PALETTE || !png_get_PLTE(png, info, &palette, &count)) return;
  header->colour_count = (uint32_t)count;
  for (int i = 0; i < count && i < 256; i++) {
    header->colours[3 * i] = palette[i].red;
    header->colours[3 * i + 1] = palette[i].green;
    header->colours[3 * i + 2] = palette[i].blue;
  }
}

static void probe_stored(png_structp png, png_infop info, void *header) { read_stored_header(png, info, header); }

int abn_png_probe_stored(const uint8_t *bytes, size_t count, abn_png_stored_header *header, char *message) {
  return read_with(bytes, count, message, probe_stored, header);
}

// Reads all rows, `row_bytes` each as the caller's room has them.
static void read_rows(png_structp png, png_infop info, uint32_t height, size_t row_bytes, uint8_t *out,
                      size_t out_bytes) {
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != row_bytes || row_bytes * height != out_bytes) {
    png_error(png, "another size than its header said");
  }
  int passes = png_get_interlace_type(png, info) == PNG_INTERLACE_ADAM7 ? PNG_INTERLACE_ADAM7_PASSES : 1;
  for (int pass = 0; pass < passes; pass++) {
    for (uint32_t y = 0; y < height; y++) png_read_row(png, out + y * row_bytes, NULL);
  }
  png_read_end(png, NULL);
}

static void decode_stored(png_structp png, png_infop info, void *context) {
  const target *to = context;
  abn_png_stored_header found;
  read_stored_header(png, info, &found);
  if (memcmp(&found, to->header, sizeof found) != 0) png_error(png, "another header than before");
  if (found.bits > 8 || found.kind == ABN_PNG_GREY_ALPHA) png_error(png, "samples of another kind");
  png_set_packing(png);
  png_set_strip_alpha(png);
  size_t row_bytes = (size_t)found.width * (found.kind == ABN_PNG_COLOURS ? 3 : 1);
  read_rows(png, info, found.height, row_bytes, to->out, to->out_bytes);
}

int abn_png_decode_stored(const uint8_t *bytes, size_t count, const abn_png_stored_header *header, uint8_t *out,
                          size_t out_bytes, char *message) {
  target to = {header, out, out_bytes};
  return read_with(bytes, count, message, decode_stored, &to);
}

static void decode(png_structp png, png_infop info, void *context) {
  const target *to = context;
  abn_png_header found;
  read_header(png, info, &found);
  if (memcmp(&found, to->header, sizeof found) != 0) png_error(png, "another header than before");
  png_set_scale_16(png);
  // Palettes to colours, fewer than 8 bits to 8, a transparent colour to alpha.
  png_set_expand(png);
  read_rows(png, info, found.height, (size_t)found.width * found.channels, to->out, to->out_bytes);
}

int abn_png_decode(const uint8_t *bytes, size_t count, const abn_png_header *header, uint8_t *out,
                   size_t out_bytes, char *message) {
  target to = {header, out, out_bytes};
  return read_with(bytes, count, message, decode, &to);
}

static void give(png_structp png, png_bytep from, size_t count) {
  sink *to = png_get_io_ptr(png);
  if (count > to->room - to->count) {
    size_t room = 2 * to->room + count + 4096;
    uint8_t *bytes = realloc(to->bytes, room);
    if (!bytes) png_error(png, "no memory");
    to->bytes = bytes;
    to->room = room;
  }
  memcpy(to->bytes + to->count, from, count);
  to->count += count;
}

static void flush(png_structp png) { (void)png; }

// Encodes rows of `channels` bytes a pixel; with colours, of one byte that is a colour's number.
static int encode(const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels, int type,
                  const png_color *colours, int colour_count, uint8_t **out, size_t *out_bytes, char *message) {
  *out = NULL;
  *out_bytes = 0;
  message[0] = 0;
  sink to = {NULL, 0, 0};
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, message, fail, be_silent);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  if (!info) {
    png_destroy_write_struct(&png, NULL);
    return refuse(message, "no memory");
  }
  // `to` is written by give() alone, through its address: it is in memory when the jump comes.
  if (setjmp(png_jmpbuf(png))) {
    png_destroy_write_struct(&png, &info);
    free(to.bytes);
    return 1;
  }
  png_set_write_fn(png, &to, give, flush);
  png_set_IHDR(png, info, width, height, 8, type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  if (colours) png_set_PLTE(png, info, colours, colour_count);
  png_write_info(png, info);
  for (uint32_t y = 0; y < height; y++) {
    png_write_row(png, (png_bytep)pixels + (size_t)y * width * channels);
  }
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  *out = to.bytes;
  *out_bytes = to.count;
  return 0;
}

int abn_png_encode(const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels,
                   uint8_t **out, size_t *out_bytes, char *message) {
  static const int types[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                              PNG_COLOR_TYPE_RGB_ALPHA};
  if (channels < 1 || channels > 4) return refuse(message, "1 to 4 channels wanted");
  return encode(pixels, width, height, channels, types[channels - 1], NULL, 0, out, out_bytes, message);
}

int abn_png_encode_palette(const uint8_t *pixels, uint32_t width, uint32_t height, const uint8_t *colours,
                           uint32_t colour_count, uint8_t **out, size_t *out_bytes, char *message) {
  if (colour_count < 1 || colour_count > 256) return refuse(message, "1 to 256 colours wanted");
  png_color palette[256];
  for (uint32_t i = 0; i < colour_count; i++) {
    palette[i] = (png_color){colours[3 * i], colours[3 * i + 1], colours[3 * i + 2]};
  }
  return encode(pixels, width, height, 1, PNG_COLOR_TYPE_PALETTE, palette, (int)colour_count, out, out_bytes,
                message);
}

void abn_png_free(uint8_t *bytes) { free(bytes); }
