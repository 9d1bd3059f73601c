--[[ Moves the divs "title", "authors", "keywords" and "abstract" out of the text into the metadata that
  the templates print. An author is a list item "Name, affiliation". Runs last, so that the front matter
  has passed the same checks and citations as the text. Sets the language of the documents. ]]
local here = pandoc.path.directory(PANDOC_SCRIPT_FILE)
local mistakes = dofile(pandoc.path.join{here, 'mistakes.lua'})
local inlines_of = pandoc.utils.blocks_to_inlines

local function items(div)
  local list = div.content[1]
  if not list or list.t ~= 'BulletList' then
    mistakes.add('::: ' .. div.classes[1] .. ' must hold a list: "- one item a line"')
    return {}
  end
  local result = {}
  for i, item in ipairs(list.content) do result[i] = inlines_of(item) end
  return result
end

-- "Name, affiliation" -> name, affiliation; without a comma all of it is the name.
local function author(inlines)
  local name = pandoc.Inlines{}
  for i, inline in ipairs(inlines) do
    local last = inline.t == 'Str' and inline.text:match '^(.+),$'
    name:insert(last and pandoc.Str(last) or inline)
    if last then
      return {name = name, affiliation = pandoc.Inlines{table.unpack(inlines, i + 2)}}
    end
  end
  return {name = name}
end

local read = {
  title = function(div) return inlines_of(div.content) end,
  abstract = function(div) return pandoc.MetaBlocks(div.content) end,
  keywords = items,
  authors = function(div)
    local result = {}
    for i, item in ipairs(items(div)) do result[i] = author(item) end
    return result
  end,
}

function Pandoc(doc)
  local body = pandoc.Blocks{}
  for _, block in ipairs(doc.blocks) do
    local name = block.t == 'Div' and block.classes[1]
    if name and read[name] then doc.meta[name] = read[name](block) else body:insert(block) end
  end
  for _, name in ipairs{'title', 'authors', 'keywords', 'abstract'} do
    if not doc.meta[name] then mistakes.add('the paper has no "::: ' .. name .. '"') end
  end
  mistakes.stop()
  doc.meta.lang = 'en-GB'
  doc.blocks = body
  return doc
end
