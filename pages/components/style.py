"""The app's CSS, for what the theme cannot set. Selectors are the app's own or documented `st-key-` classes.

Selectors of Streamlit's own elements are kept together: an upgrade may change them.
"""

import streamlit as st

from cifar_core.charts import style as chart_style

TARGETS = (
    "[data-testid^=stBaseButton],[data-testid=stPopoverButton],[data-testid=stButtonGroup] button,summary,"
    "[data-testid=stPageLink] a,[data-testid=stSidebarNavLink],[data-testid=stExpandSidebarButton],"
    "[data-testid^=stPagination],[data-testid=stSelectbox] [role=group],[data-testid=stTextInputRootElement],"
    "[data-testid=stNumberInputContainer],[data-testid=stRadioOption],[data-testid=stCheckbox] label"
)
"""Controls that are 40 px high on a phone."""
STREAMLIT = (  # Streamlit's own elements
    "[data-testid=stMainBlockContainer]{padding-top:4.4rem;max-width:1480px}"
    "[data-testid=stBaseButton-primary]{color:light-dark(#fff,#12171e)}"  # white on the dark theme's accent is 2.5:1
    "[data-testid=stCaptionContainer]{color:light-dark(#59636e,#a9b3be);opacity:1}"  # Streamlit's gray is 4.1:1
    "[data-testid=stExpandSidebarButton]::after{content:'Menu';padding-left:.3rem}"
    "[data-testid=stExpandSidebarButton]{width:auto;color:inherit}"
    ":has(>*>[data-testid=stAlert]){flex-wrap:nowrap}"  # a tooltip stays beside its alert on a phone
    "[data-testid=stButtonGroup] [role=radiogroup]{flex-wrap:wrap;row-gap:4px}"  # else a narrow column hides the last
    "@media(max-width:767px){[data-testid=stButtonGroup] [role=radiogroup]{column-gap:4px}"
    "[data-testid=stButtonGroup] button{border-radius:6px!important;margin:0!important;clip-path:none}"
    "[data-testid=stButtonGroup] [aria-checked=false]{border:1px solid var(--line)!important}"
    "[data-testid=stHorizontalBlock]:has(>[data-testid=stColumn]){row-gap:1rem}}"  # their gap beside is large
    ":is([data-testid=stTopNavLink],[data-testid=stSidebarNavLink],[data-testid=stBaseButton-elementToolbar])"
    ":focus-visible{box-shadow:0 0 0 3px color-mix(in srgb,var(--accent) 50%,transparent)}"  # as their buttons have
    "[data-testid=stImage] img{border-radius:4px}"
    ".st-key-drop_zone [data-testid=stFileUploaderDropzone]{min-height:10rem;flex-direction:column;"
    "justify-content:center;align-items:center;border:2px dashed #808b9e}"
    "[class*=st-key-wide_runs] [data-testid=stElementToolbar],"  # their CSV download would not escape formulas
    ".st-key-wide_scores [data-testid=stElementToolbar],"
    ".st-key-verdict [data-testid=stElementToolbar],"
    ".st-key-runs_robust [data-testid=stElementToolbar]{display:none}"
    "[data-testid=stFileUploader]:has([aria-invalid=true])::after{font-size:.9rem;content:'Not uploaded. Error 413: a "
    "server in front of the app takes smaller files only; the app itself takes 200 MB. Error 403: it refuses uploads, "
    "or the page is in a frame of another site. Ask who runs it.'}"
    "@media(max-width:1100px){.st-key-teach_steps>div>[data-testid=stHorizontalBlock]{flex-wrap:wrap}"
    ".st-key-teach_steps>div>[data-testid=stHorizontalBlock]>[data-testid=stColumn]{min-width:min(100%,340px)}"
    ".st-key-gallery>div>[data-testid=stHorizontalBlock]{flex-wrap:wrap}"
    ".st-key-gallery>div>[data-testid=stHorizontalBlock]>[data-testid=stColumn]{min-width:100%}}"
    ".stApp:has([data-testid=stSidebar][data-collapsed=false]) [data-testid=stMain]::before{content:'';position:fixed;"
    "inset:0;z-index:99;background:rgb(0 0 0/.4)}"  # beside a phone's menu: a tap closes it and presses nothing
    "[data-testid=stRadioOption]:not(:has(:checked))>div>div:first-child{border-color:#808b9e}"  # their gray is 1.3:1
    "[data-testid=stCheckbox] label:not(:has(:checked))>span+div{box-shadow:0 0 0 1px #808b9e}"
    ":is([data-testid=stTextInputRootElement],[data-testid=stNumberInputContainer],[data-testid=stTextAreaRootElement],"
    "[data-testid=stSelectbox] [role=group]):not(:focus-within){border-color:#808b9e}"
    "[data-testid=stSlider] div:has(>[data-testid=stSliderThumbValue]){width:18px;height:18px}"
    "[data-testid=stSlider] [data-testid=stWidgetLabel]{margin-bottom:1rem}"  # else the value touches it
    "[data-testid=stHeading] h1{padding:2rem 0 .25rem}"  # at one height on all pages, also beside a select box
    "@media(max-width:767px){[data-testid=stHeading] h1{padding:.5rem 0}"
    "[data-testid=stElementContainer]:has(>[data-testid=stHeading] h1){flex:1 1 100%}}"
    f"@media(pointer:coarse){{:is({TARGETS}){{min-height:40px;align-items:center}}"
    "[data-testid=stTooltipHoverTarget]{position:relative}"
    "[data-testid=stTooltipHoverTarget] button::after{content:'';position:absolute;inset:-13px}}"
    "@media(max-width:767px){[data-testid=stColumn]:has(>div>div>.st-key-photo){position:sticky;top:3.75rem;z-index:9;"
    "background:var(--page)}.st-key-photo{flex-direction:row;padding:.4rem 0}.st-key-photo>*{flex:1 1 0;min-width:0}}"
)
_OWN = (
    ".bars{display:grid;grid-template-columns:auto 1fr auto;gap:.3rem .7rem;align-items:center}"
    ".bars b{height:.8rem;border-radius:3px;background:var(--line);overflow:hidden}.bars i{display:block;height:100%}"
    ".bars span{font-variant-numeric:tabular-nums}"
    "[class*=st-key-sentence] p{font-size:1.2rem}"
    ".st-key-headline h2,.st-key-teach_big h3{font-size:2.2rem;padding:0 0 .6rem}"
    ".st-key-teach_big_try h3{font-size:1.6rem}"
    "@media(min-width:768px){:has(>.st-key-photo),:has(>.st-key-changed){position:sticky;top:4.5rem}}"
    "@media(max-width:767px){[data-testid=stColumn]:has(>div>div>.st-key-changed){position:sticky;bottom:0;z-index:8;"
    "background:var(--page);box-shadow:-1rem 0 var(--page),1rem 0 var(--page)}"
    ".st-key-changed{gap:.4rem}.st-key-changed img{width:72px!important}.st-key-changed details{display:none}}"
    ".annotation-text{paint-order:stroke;stroke:var(--page);stroke-width:4px;stroke-linejoin:round}"
    "@media(max-width:767px){.st-key-run_choice,.st-key-ghost{flex:1 1 40%!important;width:auto!important;min-width:0}}"
    ".preview{display:flex;gap:.4rem;overflow-x:auto;padding-bottom:.4rem}"
    ".preview figure{margin:0;text-align:center;flex:1 0 68px;max-width:128px}"
    ".preview img{width:100%;aspect-ratio:1;border-radius:4px;image-rendering:pixelated}"
    "@media(max-width:767px){.preview{flex-wrap:wrap}.preview figure{flex:1 0 28%}}"
    ".preview figcaption{font-size:.78rem;line-height:1.35}.preview .changed{color:light-dark(#b01481,#f07cc4)}"
    "@media(max-width:767px){.st-key-watch_rows2 .st-key-watch{height:988px!important;flex-basis:988px!important}}"
    "[class*=st-key-live_] [data-stale=true],[data-stale=true]:has(.live-chart)"  # polled, so never stale
    "{opacity:1!important;transition:none!important}"
    "[class*=st-key-live_] summary *{opacity:1!important}"
    ".st-key-teach_steps [data-stale=true]{opacity:1!important;transition:none!important}"  # the last answer stays
    ".st-key-map_sheet{display:none}"
    ".st-key-outcome{min-height:11.5rem}@media(max-width:1000px){.st-key-outcome{min-height:12.1rem}}"
    "@media(max-width:767px){.st-key-outcome{min-height:22rem}"
    ".st-key-outcome :is(h2,[data-testid=stColumn]:first-child p){min-height:2lh}"  # sentences have one or two lines
    ":is(.st-key-outcome,.st-key-ended) [data-testid=stHorizontalBlock]{justify-content:flex-start}}"
    ".st-key-dashed{min-height:3.4rem}@media(max-width:767px){.st-key-dashed{min-height:8.2rem}}"
    ".track>div{display:flex;gap:3px}"
    ".track>div>div{flex:1;min-width:0;font-size:.74rem;line-height:1.2}"
    ".track b{display:block;height:.6rem;margin-bottom:.15rem;border-radius:3px;overflow:hidden;background:var(--line)}"
    ".track i{display:block;height:100%}"
    ".track p{margin:.2rem 0 0;line-height:1.5;min-height:1.5em;font-variant-numeric:tabular-nums}"
    "@media(max-width:767px){.track p{min-height:3em}}"
    "[class*=st-key-preset_]{height:100%}[class*=st-key-preset_] :is(div,button){height:100%}"
    "[class*=st-key-preset_] button{padding:.5rem .9rem}"
    ".st-key-run_place:not(:has(.st-key-details_panel,.st-key-ended)){min-height:100vh}"  # heights of what arrives late
    "[class*=st-key-preset_]:not(.st-key-preset_classic){min-height:5.6rem}"
    ".st-key-main_sliders [data-testid=stColumn]{min-height:15.4rem}"
    ".st-key-start_place:not(:has(.st-key-share_link,[data-testid=stAlert])){min-height:17rem}"
    "[class*=st-key-examples]{min-height:9.6rem}"
    ".st-key-overlays{min-height:27.5rem}@media(max-width:767px){.st-key-overlays{min-height:57rem}}"
    ":is(.st-key-run_choice,.st-key-ghost,.st-key-run_name){min-height:4.25rem}"
    ".st-key-lab_sliders [class*=st-key-lab_]{min-height:5rem}"
    ".st-key-example{opacity:.6}"
    "[class*=st-key-card_]>[data-testid=stElementContainer]:first-child{aspect-ratio:4}"
    ".st-key-preset_classic button{padding:0;color:var(--accent)}"
    "@media(max-width:767px),(max-height:500px){.st-key-start button{min-height:2.9rem}"
    ".st-key-start_place,:has(>.st-key-start_place),.st-key-start_row,:has(>.st-key-start_row){display:contents}"
    ".st-key-start_row>*{flex:none!important;width:100%!important}"
    ":has(>.st-key-start_buttons){position:sticky;bottom:0;z-index:9;padding:.6rem 0;background:var(--page)}}"
    "@media(min-width:1101px){:has(>.st-key-teach_train),:has(>.st-key-teach_try){position:sticky;top:4.5rem;"
    "max-height:calc(100vh - 5rem);overflow:hidden auto;scrollbar-width:thin;padding:0 3px}}"
    "[class*=st-key-undo_bar],.st-key-teach_progress{position:fixed;bottom:1.5rem;left:50%;transform:translateX(-50%);z-index:100;"
    "width:max-content!important;max-width:92vw;background:var(--page);padding:.4rem 1rem}"
    "@media(max-width:767px){[class*=st-key-undo_bar]{bottom:5rem}}"
    ".st-key-teach_progress{width:min(92vw,24rem)!important}"
    "[class*=st-key-card_]{position:relative}[class*=st-key-card_] [class*=st-key-open_]{position:static}"
    "[class*=st-key-card_] [data-testid=stBaseButton-tertiary]::after{content:'';position:absolute;inset:0}"
    "[class*=st-key-card_] button{padding:0;justify-content:flex-start;text-align:left}"
    ".st-key-head{position:absolute;overflow:hidden}"
    ".scrolled{overflow-x:auto}pre.scrolled{overflow:auto;max-height:22rem;font-size:.8rem}"
    "@media(max-width:767px){:has(>[class*=st-key-wide_]){display:none}}"
    "@media(min-width:768px){:has(>[class*=st-key-narrow_]){display:none}}"
    "@media(hover:none){:has(>.st-key-mouse_paste){display:none}}"  # a phone has no Ctrl+V
    "table.confusion,table.tried{border-collapse:separate;border-spacing:2px;font-variant-numeric:tabular-nums;"
    "font-size:.9rem;max-width:100%}.confusion caption,.tried caption{caption-side:bottom;text-align:left;"
    "font-size:.85rem;color:light-dark(#59636e,#a9b3be);padding-top:.3rem;white-space:nowrap}"
    ".confusion td,.confusion th,.tried td,.tried th{border:0!important;padding:.2rem .4rem}"
    ".confusion th{font-weight:400;max-width:9rem;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;"
    "text-align:right}.confusion th[scope=col]{text-align:center;max-width:5rem}"
    ".confusion td{min-width:1.6rem;text-align:center;border-radius:4px}"
    f".confusion .right{{background:color-mix(in srgb,{chart_style.RIGHT} calc(var(--share)*.75),var(--line))}}"
    f".confusion .wrong{{background:color-mix(in srgb,{chart_style.WRONG} var(--share),var(--line))}}"
    ".tried th{font-weight:400;text-align:right}.tried td{text-align:right}.tried .now td{font-weight:650}"
)


_WORDMARK = (  # its blue has a contrast of 3:1 on both themes, as large text needs
    '<svg xmlns="http://www.w3.org/2000/svg" width="192" height="32" viewBox="0 0 192 32">'
    + "".join(
        f'<rect x="{10 * (place % 3)}" y="{1 + 10 * (place // 3)}" width="9" height="9" rx="2" fill="{color}"/>'
        for place, color in enumerate(chart_style.CLASS_COLORS[:9])
    )
    + '<text x="38" y="22" font-family="system-ui,sans-serif" font-size="19" font-weight="700" '
    f'fill="{chart_style.TRAINING}">CIFAR Studio</text></svg>'
)


def apply(page: str) -> None:
    """Add the app's wordmark and CSS, and close the menu on a phone after the user has opened another `page`."""
    st.logo(_WORDMARK, size="large")
    menu, button = "[data-testid=stSidebar]", "[data-testid=stSidebarCollapseButton] button"
    with st.container(key="head", height=1, border=False):  # of one height before and after its content has come
        # not by st.html, whose code the browser loads later
        st.markdown(f"<style>.stApp{{{_variables()}}}{STREAMLIT}{_OWN}</style>", unsafe_allow_html=True)
        st.html(
            f"<script>/* {page} */ if (innerWidth < 768 && document.querySelector('{menu}')"
            f"?.getBoundingClientRect().left > -9) document.querySelector('{button}')?.click()</script>",
            unsafe_allow_javascript=True,
        )


def mark(key: str) -> None:
    """Draw the button with this `key` as selected."""
    st.html(
        f"<style>.st-key-{key} button{{border:2px solid var(--accent);"
        "background:color-mix(in srgb,var(--accent) 12%,transparent)}</style>"
    )


def _variables() -> str:
    names = {"line": "borderColor", "accent": "primaryColor", "page": "backgroundColor"}
    return ";".join(f"--{name}:{_colors(option)}" for name, option in names.items())


def _colors(option: str) -> str:
    """Return a theme color for light and dark as CSS; Streamlit has no CSS variable for it."""
    return f"light-dark({st.get_option(f'theme.light.{option}')},{st.get_option(f'theme.dark.{option}')})"
