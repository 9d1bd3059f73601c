--[[ Refuses every digit that is neither bound to a result nor declared a constant. Bound digits are in
  a span of class "value" (written by v), declared ones in a span of class "constant", which leaves no
  trace. Formulas, code, citation keys and link targets are not text and may hold digits. ]]
local here = pandoc.path.directory(PANDOC_SCRIPT_FILE)
local mistakes = dofile(pandoc.path.join{here, 'mistakes.lua'})
local stringify = pandoc.utils.stringify

local WORDS_OF_CONTEXT = 4
local VALUE = '<span class="value"'

-- ASCII digits, superscripts, subscripts, fractions and circled numbers.
local function has_digit(text)
  for _, code in utf8.codes(text) do
    if (code >= 48 and code <= 57) or code == 0xB2 or code == 0xB3 or code == 0xB9
      or (code >= 0xBC and code <= 0xBE) or (code >= 0x2070 and code <= 0x2089)
      or (code >= 0x2150 and code <= 0x218B) or (code >= 0x2460 and code <= 0x249B) then
      return true
    end
  end
  return false
end

local function context(inlines, position)
  local first = math.max(1, position - 2 * WORDS_OF_CONTEXT)
  local last = math.min(#inlines, position + 2 * WORDS_OF_CONTEXT)
  local words = pandoc.Inlines{}
  for i = first, last do words:insert(inlines[i]) end
  return stringify(words)
end

local function check_text(inlines)
  for i, inline in ipairs(inlines) do
    if inline.t == 'Str' and has_digit(inline.text) then
      mistakes.add(('unbound digit in "%s", near "%s": write << v("key") >> for a result or [%s]{.constant}')
        :format(inline.text, context(inlines, i), inline.text))
    end
  end
end

local function check_verbatim(element)
  if element.text:find(VALUE, 1, true) then
    mistakes.add('a value cannot stand inside a formula or code: close the $ or ` before it')
  end
end

local function exempt(span)
  if span.classes:includes 'constant' then return span.content, false end
  if span.classes:includes 'value' then return span, false end
end

local check
check = {
  traverse = 'topdown',
  Header = mistakes.enter,
  Inlines = check_text,
  Math = check_verbatim,
  Code = check_verbatim,
  CodeBlock = check_verbatim,
  Span = exempt,
  Link = function(link) if link.classes:includes 'uri' then return link, false end end,
  Cite = function(cite)  -- the content repeats the keys; only what surrounds them is text
    for _, citation in ipairs(cite.citations) do
      citation.prefix = citation.prefix:walk(check)
      citation.suffix = citation.suffix:walk(check)
    end
    return cite, false
  end,
}

function Pandoc(doc)
  doc = doc:walk(check)
  mistakes.stop()
  return doc
end
