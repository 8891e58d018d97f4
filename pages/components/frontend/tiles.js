export default function({ data, parentElement, setTriggerValue }) {
    const root = parentElement.getRootNode();
    const focused = [...parentElement.querySelectorAll(".tile")].indexOf(root.activeElement);
    const list = parentElement.querySelector(".tiles") ?? document.createElement("div");
    list.className = "tiles";
    list.style.gridTemplateColumns = data.width ? `repeat(auto-fill, min(${data.width}px, 25vw))` : "1fr";
    list.replaceChildren(...data.tiles.map((tile, number) => {
        const element = document.createElement(data.clickable ? "button" : "figure");
        element.className = tile.image ? "tile" : "tile card";
        if (tile.image) {
            const image = Object.assign(new Image(), { alt: tile.alt, src: tile.image });
            image.onload = () => image.classList.toggle("small", image.naturalWidth < 64);
            element.append(image);
        }
        const words = [["b", tile.title, ""], ["span", tile.note, tile.tone]];
        element.append(...words.map(([name, textContent, className]) =>
            Object.assign(document.createElement(name), { textContent, className })));
        if (data.clickable) {
            element.ariaPressed = String(data.chosen.includes(number));
            element.onclick = () => setTriggerValue("chosen", number);
        }
        return element;
    }));
    if (!list.isConnected) parentElement.append(list);
    list.children[focused]?.focus();
}
