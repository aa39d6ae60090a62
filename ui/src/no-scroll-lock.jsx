// In the place of the package react-remove-scroll, which dialogs and menus use to keep the page behind
// them from scrolling. This page never scrolls (style.css), and the package would add style elements,
// which the page's Content-Security-Policy forbids.

export function RemoveScroll({ as: Element = 'div', allowPinchZoom: _, shards: __, ...rest }) {
  return <Element {...rest} />;
}
