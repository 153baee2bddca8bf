#include "abn_jpeg.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// After stdio.h and stddef.h, which it needs.
#include <jerror.h>
#include <jpeglib.h>

// A progressive file of a few bytes can ask for any number of passes over the picture; encoders write
// about ten.
enum { MOST_SCANS = 200 };

typedef struct {
  struct jpeg_error_mgr manager;
  struct jpeg_progress_mgr progress;
  jmp_buf jump;
  char *message;
} failure;

static void fail(j_common_ptr info) {
  failure *f = (failure *)info->err;
  char text[JMSG_LENGTH_MAX];
  info->err->format_message(info, text);
  snprintf(f->message, ABN_JPEG_MESSAGE_BYTES, "%s", text);
  longjmp(f->jump, 1);
}

// Negative levels are warnings. Those that leave the picture as it should be are passed over (bytes between
// markers, an odd version or Adobe marker); those of data that are missing or make no sense are errors here.
static void warn(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
  case JWRN_ADOBE_XFORM:
  case JWRN_EXTRANEOUS_DATA:
  case JWRN_JFIF_MAJOR:
  case JWRN_NOT_SEQUENTIAL:
  case JWRN_TOO_MUCH_DATA:
    return;
  default:
    fail(info);
  }
}

static void be_silent(j_common_ptr info) { (void)info; }

static void count_scans(j_common_ptr info) {
  failure *f = (failure *)info->err;
  if (((j_decompress_ptr)info)->input_scan_number > MOST_SCANS) {
    snprintf(f->message, ABN_JPEG_MESSAGE_BYTES, "more than %d scans", MOST_SCANS);
    longjmp(f->jump, 1);
  }
}

static void catch_errors(j_common_ptr info, failure *f, char *message) {
  memset(f, 0, sizeof *f);
  info->err = jpeg_std_error(&f->manager);
  f->manager.error_exit = fail;
  f->manager.emit_message = warn;
  f->manager.output_message = be_silent;
  f->message = message;
  message[0] = 0;
}

static int refuse(char *message, const char *text) {
  snprintf(message, ABN_JPEG_MESSAGE_BYTES, "%s", text);
  return 1;
}

// Reads the header and decides on the colours of the output. 0 for colours that are not known.
static uint32_t read_header(j_decompress_ptr info, const uint8_t *bytes, size_t count) {
  jpeg_mem_src(info, (unsigned char *)bytes, (unsigned long)count);
  jpeg_read_header(info, TRUE);
  switch (info->jpeg_color_space) {
  case JCS_GRAYSCALE:
    info->out_color_space = JCS_GRAYSCALE;
    return 1;
  case JCS_RGB:
  case JCS_YCbCr:
    info->out_color_space = JCS_RGB;
    return 3;
  case JCS_CMYK:
  case JCS_YCCK:
    info->out_color_space = JCS_CMYK;
    return 4;
  default:
    return 0;
  }
}

int abn_jpeg_probe(const uint8_t *bytes, size_t count, abn_jpeg_header *header, char *message) {
  if (count == 0) return refuse(message, "no bytes");
  struct jpeg_decompress_struct info;
  failure f;
  memset(&info, 0, sizeof info);
  catch_errors((j_common_ptr)&info, &f, message);
  if (setjmp(f.jump)) {
    jpeg_destroy_decompress(&info);
    return 1;
  }
  jpeg_create_decompress(&info);
  header->channels = read_header(&info, bytes, count);
  header->width = info.image_width;
  header->height = info.image_height;
  int known = header->channels != 0;
  jpeg_destroy_decompress(&info);
  return known ? 0 : refuse(message, "colours of an unknown kind");
}

int abn_jpeg_decode(const uint8_t *bytes, size_t count, const abn_jpeg_header *header,
                    unsigned denominator, uint8_t *out, size_t out_bytes, char *message) {
  if (count == 0) return refuse(message, "no bytes");
  struct jpeg_decompress_struct info;
  failure f;
  memset(&info, 0, sizeof info);
  catch_errors((j_common_ptr)&info, &f, message);
  if (setjmp(f.jump)) {
    jpeg_destroy_decompress(&info);
    return 1;
  }
  jpeg_create_decompress(&info);
  uint32_t channels = read_header(&info, bytes, count);
  info.scale_num = 1;
  info.scale_denom = denominator;
  f.progress.progress_monitor = count_scans;
  info.progress = &f.progress;
  jpeg_calc_output_dimensions(&info);
  size_t row_bytes = (size_t)info.output_width * channels;
  int fits = channels != 0 && channels == header->channels && info.image_width == header->width &&
             info.image_height == header->height && row_bytes * info.output_height == out_bytes;
  if (!fits) {
    jpeg_destroy_decompress(&info);
    return refuse(message, "another size than its header said");
  }
  jpeg_start_decompress(&info);
  while (info.output_scanline < info.output_height) {
    JSAMPROW rows[4];
    int more = 0;
    while (more < 4 && info.output_scanline + more < info.output_height) {
      rows[more] = out + (info.output_scanline + more) * row_bytes;
      more++;
    }
    jpeg_read_scanlines(&info, rows, more);
  }
  // Not jpeg_finish_decompress, which would read on to the end mark: the picture is whole.
  jpeg_destroy_decompress(&info);
  return 0;
}

// What most pictures do not fill.
enum { FIRST_BYTES = 1 << 12 };

int abn_jpeg_encode(const uint8_t *pixels, uint32_t width, uint32_t height, uint32_t channels,
                    int quality, int progressive, uint8_t **out, size_t *out_bytes, char *message) {
  struct jpeg_compress_struct info;
  failure f;
  // The first buffer is ours: libjpeg never frees it, and tells only at the end which one it has written to. One
  // of its own is lost where an error comes before that, for want of memory alone.
  unsigned char *own = malloc(FIRST_BYTES);
  *out = NULL;
  *out_bytes = 0;
  memset(&info, 0, sizeof info);
  catch_errors((j_common_ptr)&info, &f, message);
  if (!own) return refuse(message, "no memory");
  if (setjmp(f.jump)) {
    jpeg_destroy_compress(&info);
    free(own);
    return 1;
  }
  // Not looked at after a longjmp.
  unsigned char *written = own;
  unsigned long written_bytes = FIRST_BYTES;
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, &written, &written_bytes);
  info.image_width = width;
  info.image_height = height;
  info.input_components = (int)channels;
  info.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  if (progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = (JSAMPROW)pixels + (size_t)info.next_scanline * width * channels;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  if (written != own) free(own);
  *out = written;
  *out_bytes = written_bytes;
  return 0;
}

void abn_jpeg_free(uint8_t *bytes) { free(bytes); }
