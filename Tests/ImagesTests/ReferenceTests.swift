import Testing

@testable import ABNImages

/// What Pillow 13 and torchvision 0.28 make of the same 6 x 7 pixels, of which a part is of one colour.
@Suite struct ReferenceTests {
  static let source = Picture(
    size: PictureSize(height: 6, width: 7), channels: 3,
    bytes: bytes(
      """
      a8e5b8abeeab14cef599cc052535d5cec0ad06783f60ec83760457a17c472a49ed10c2fa0a67ce0d8f02
      264785762462762462762462762462358d21b527970bb48a762462762462762462762462caff5536e430
      7fa901a76df710c04edc083cbdb5404808b9586fbf8a6343304464f943287f2d2133cee5d95535cc7886
      """))

  /// Bytes as pairs of hexadecimal digits; spaces do not count.
  private static func bytes(_ text: String) -> [UInt8] {
    let digits = text.filter { !$0.isWhitespace }.compactMap(\.hexDigitValue)
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] * 16 + digits[$0 + 1]) }
  }

  private func expect(
    _ found: Picture, _ wanted: String, within most: Int = 0,
    sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) {
    let wanted = Self.bytes(wanted)
    #expect(found.pixels.count == wanted.count, sourceLocation: sourceLocation)
    let far = zip(found.pixels, wanted).map { abs(Int($0) - Int($1)) }.max() ?? 0
    #expect(far <= most, sourceLocation: sourceLocation)
  }

  @Test func coloursAreAsPillowChangesThem() {
    let source = Self.source
    expect(
      source.brightness(1.4),
      """
      ebffffefffef1cffffd6ff07334afffffff208a85886ffb7a50579e1ad633a66ff16ffff0e90ff12c802
      3563baa53289a53289a53289a532894ac52efd36d30ffcc1a53289a53289a53289a53289ffff774bff43
      b1ec01e998ff16ff6dff0b54fffd59640bff7b9bffc18a5d435f8cff5d38b13f2e47ffffff774affa8bb
      """)
    expect(
      source.contrast(0.35),
      """
      849989859c8550919f7f904b565c94918c864b735f6b9c77724a6781746258639c4f8da04c6d914e7b4a
      56627872566b72566b72566b72566b5c7a5588577e4d887972566b72566b72566b72566b90a2675c995a
      758449836f9f4f8c64964c5e8b885f624c8a68708c796c605a616ca060577559555b919995675c907378
      """)
    expect(
      source.saturation(1.9),
      """
      85f9a487ff8700fbff8dee000a29ffd8be9a009c3012ff55b5007abd77120640ff00ecff0075ff00c000
      0b49bfa3077da3077da3077da3077d08b000ff00ca00e595a3077da3077da3077da3077db9ff0000ff00
      76c500bd4fff00fb22ff002ccebe005e00ff416dffa55b1f1f4582ff1500b4180100f5ffff3400ff5f7a
      """)
    expect(
      source.sharpness(1.8),
      """
      a8e5b8abeeab14cef599cc052535d5cec0ad06783f60ec8379003cbb852a1136ff00eeff0061f60d8f02
      26478580095e781e5b7e125286004e239200b527970bb48a84025b72185c7213676d0a66f7ff4936e430
      7fa901c66eff00ff44ff002cd5e42c2600dc586fbf8a6343304464f943287f2d2133cee5d95535cc7886
      """)
    expect(
      source.sharpness(0.2),
      """
      a8e5b8abeeab14cef599cc052535d5cec0ad06783f60ec83724a71867263425bba3596c02b6ca50d8f02
      2647856b3e667329686e357265487646874ab527970bb48a6745687930677a345c7e3d5e9cb16036e430
      7fa901876ba3507a57ac354ca58554694f95586fbf8a6343304464f943287f2d2133cee5d95535cc7886
      """)
    expect(
      source.posterized(bits: 3),
      """
      a0e0a0a0e0a000c0e080c0002020c0c0c0a000602060e080600040a060402040e000c0e00060c0008000
      204080602060602060602060602060208020a0208000a080602060602060602060602060c0e04020e020
      60a000a060e000c040c00020a0a0404000a04060a0806040204060e0402060202020c0e0c04020c06080
      """)
    expect(
      source.solarized(from: 99.5),
      """
      571a4754115414310a66330525352a313f5206873f60137c8904575e83472a4912103d050a98310d7002
      26477a8924628924628924628924623572214a27680b4b75892462892462892462892462350055361b30
      805601589208103f4e23083c424a4048084658904075634330449b064328802d2133311a265535338779
      """)
    expect(
      source.autocontrasted,
      """
      aae4bbadedae0ecdf99acb042031d9d1beb000753f5eeb85750058a279472546f10ac1ff0464d1078d01
      214487752063752063752063752063318b20b7239905b28c752063752063752063752063cdff5632e330
      7ea700a86afb0abe4ee0043cc0b3404504bc566cc28a60432c4165ff40277e29202fcde9dd5235cf7588
      """)
    expect(
      source.equalized,
      """
      a8e5b8abeeab14cef599cc052535d5cec0ad06783f60ec83760457a17c472a49ed10c2fa0a67ce0d8f02
      264785762462762462762462762462358d21b527970bb48a762462762462762462762462caff5536e430
      7fa901a76df710c04edc083cbdb5404808b9586fbf8a6343304464f943287f2d2133cee5d95535cc7886
      """)
    expect(
      source.converted(toChannels: 1),
      """
      ced29ba642c24fb63081529357584444444444665e7d44444444dc9b898e7e4daa2f716b427644a27993
      """)
  }

  @Test func warpsAreAsTorchvisionMakesThem() {
    let source = Self.source
    expect(
      source.warped(.rotation(degrees: 30)),
      """
      00000000000099cc052535d50a67ce0d8f02000000abeeab14cef52a49ed10c2fa358d21358d2136e430
      760457a17c47762462762462762462caff55586fbf60ec83762462762462762462762462bdb5404808b9
      26478576246276246210c04edc083c33cee5d955350000007fa901a76df7f943287f2d21000000000000
      """)
    expect(
      source.warped(.shear(x: 0.4, y: 0, source.size)),
      """
      a8e5b8abeeab14cef599cc052535d5cec0ad06783f760457a17c472a49ed10c2fa0a67ce0d8f02000000
      762462762462762462762462358d21b52797000000762462762462762462762462caff5536e430000000
      10c04edc083cbdb5404808b9586fbf000000000000f943287f2d2133cee5d95535cc7886000000000000
      """)
    expect(
      source.warped(.shear(x: 0, y: -0.3, source.size)),
      """
      a8e5b8abeeab00000000000000000000000000000060ec8376045714cef599cc052535d5000000000000
      264785762462a17c472a49ed10c2facec0ad06783f0bb48a7624627624627624627624620a67ce0d8f02
      7fa901a76df7762462762462762462358d21b527978a634330446410c04edc083cbdb540caff5536e430
      """)
    expect(
      source.warped(Warp(x0: -2)),
      """
      000000000000a8e5b8abeeab14cef599cc052535d500000000000060ec83760457a17c472a49ed10c2fa
      0000000000002647857624627624627624627624620000000000000bb48a762462762462762462762462
      0000000000007fa901a76df710c04edc083cbdb5400000000000008a6343304464f943287f2d2133cee5
      """)
  }

  @Test func resizingIsAsPillowDoesIt() {
    let source = Self.source
    expect(
      source.resized(to: PictureSize(height: 3, width: 4)),
      """
      7fa38d698588457ab13f826b53607474356673516c678e617172628854518b706e8d6e84
      """, within: 1)
    expect(
      source.resized(to: PictureSize(height: 9, width: 11)),
      """
      a8e5b8a9e9b29debb23dd7e144cd9e99cc054f6c89535bcabfb3b161997106783f84e99e8ab6918c7d84
      6999965d9b91628b793481bf3182dc6591c2378b680a842156d08365767079135890524f765d7d3743d6
      2983dc1c98d41372b51f765f297e1b3063854f44747720607b2d5e763068692a7966377b56526a338044
      685c6199387e197e884355777624627624627624627624627624627951577fb73f7aa3517686641eb273
      4a78777c32786c3a6671335d871f5c84325c90665fafc86572d3563cd0486cab188389729367d2439378
      5f6e4ccb0d42ba68459a8060663b9f585da75283a78586227972626e5da47e765a945c36ae1b2f8c856f
      7f9a8b8f3c7a92548f9274a38a634361555242445fc24338cd3b257f2d214f939e60adb5ca6045d26861
      cc7886
      """, within: 1)
    expect(
      source.resized(
        PictureRegion(top: 1, left: 2, size: PictureSize(height: 4, width: 3)),
        to: PictureSize(height: 2, width: 5)),
      """
      884a5674417355349e4e53a14a68a34a67596d4756a218529a4453946253
      """, within: 1)
  }
}
