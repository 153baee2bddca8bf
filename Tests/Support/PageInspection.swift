import Testing

/// A page of this package in a browser: what every one of them must hold.
package enum PageInspection {
  /// What is found: what the page is made of, what the keyboard reaches, what is wrong.
  private static let script = """
    const document = frame.document, root = document.documentElement;
    const focusable = [...document.querySelectorAll("a[href], button, summary, [tabindex]")]
      .filter(element => element.tabIndex >= 0 && element.getClientRects().length);
    let unreached = 0, unseen = 0;
    for (const element of focusable) {
      element.focus();
      if (document.activeElement !== element) unreached += 1;
      else if (frame.getComputedStyle(element).outlineStyle === "none") unseen += 1;
    }
    // Texts of a picture that lie upon each other.
    const overlaps = [];
    for (const chart of document.querySelectorAll("svg.chart")) {
      const boxes = [...chart.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
      boxes.forEach(([first, a], index) => boxes.slice(index + 1).forEach(([second, b]) => {
        if (a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom)
          overlaps.push(first + " / " + second);
      }));
    }
    const chart = document.querySelector("svg.chart");
    const press = (element, key) =>
      element.dispatchEvent(new frame.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    const said = [];
    if (chart) for (const key of ["Home", "ArrowRight", "End"]) {
      press(chart, key);
      said.push(chart.getAttribute("aria-valuetext"));
    }
    const plan = document.querySelector(".timeline canvas");
    if (plan) { plan.focus(); press(plan, "ArrowRight"); }
    const images = [...document.images];
    await Promise.all(images.map(image => { image.loading = "eager"; return image.decode().catch(() => null); }));
    // Charts are drawn when they get their width.
    return {
      title: document.title, text: document.body.innerText, width: root.scrollWidth, room: root.clientWidth,
      charts: document.querySelectorAll("svg.chart .curve").length, overlaps,
      images: images.length, broken: images.filter(image => !image.naturalWidth).length,
      unnamed: images.filter(image => !image.alt).length,
      focusable: focusable.length, unreached, unseen, said,
      plans: document.querySelectorAll(".timeline canvas").length,
      plan: plan ? document.querySelector(".timeline .said").textContent : "",
      ink: frame.getComputedStyle(document.body).color, page: frame.getComputedStyle(document.body).backgroundColor,
    };
    """

  /// Opens a page and checks that nothing is wrong with it.
  ///
  /// - Returns: what was found; nil, with a word, where there is no browser.
  package static func look(
    _ page: String, width: Int, isDark: Bool,
    sourceLocation: Testing.SourceLocation = #_sourceLocation
  ) throws -> [String: Any]? {
    guard let visit = try Browser.visit(page, width: width, isDark: isDark, script: Self.script)
    else {
      print("skipped: no chromium in PATH, which would open the report")
      return nil
    }
    let found = visit.found
    #expect(found["failure"] == nil, "\(found)", sourceLocation: sourceLocation)
    #expect(visit.console.isEmpty, "\(visit.console)", sourceLocation: sourceLocation)
    func number(_ name: String) -> Int { found[name] as? Int ?? -1 }
    // No part makes the page wider than the window.
    #expect(number("width") == number("room"), "\(width)", sourceLocation: sourceLocation)
    #expect(
      (width - 20...width).contains(number("room")), "\(number("room"))",
      sourceLocation: sourceLocation)
    #expect(found["overlaps"] as? [String] == [], sourceLocation: sourceLocation)
    for name in ["broken", "unnamed", "unreached", "unseen"] {
      #expect(number(name) == 0, "\(name)", sourceLocation: sourceLocation)
    }
    return found
  }
}
