#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Delivery on this machine: mbox and Maildir of users as that user, aliases, virtual mailboxes, who is
# refused at RCPT. The tables run a second time with every answer late.
use strict;
use warnings;
use Gatepost::Netns;
use File::Path qw(make_path);
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Gatepost::Tables;
use Test::More;

# Users of our own, in this namespace only.
my $dir = tempdir('local');
my %uid = (anna => 47001, bert => 47002);
my $passwd = slurp('/etc/passwd');
my $group = slurp('/etc/group');
for my $user (sort keys %uid) {
    $passwd .= "$user:x:$uid{$user}:$uid{$user}::$dir/home/$user:/bin/sh\n";
    $group .= "$user:x:$uid{$user}:\n";
    make_path("$dir/home/$user");
    chown $uid{$user}, $uid{$user}, "$dir/home/$user";
}
for (['passwd', $passwd], ['group', $group]) {
    spew("$dir/$_->[0]", $_->[1]);
    system('mount', '--bind', "$dir/$_->[0]", "/etc/$_->[0]") == 0 or die 'mount';
}
make_path("$dir/spool", "$dir/virtual");
chmod 01777, "$dir/spool";
chown 47003, 47003, "$dir/virtual";

my $sink = Gatepost::Sink->new;
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $sink->port,
    mydestination => 'mx.example', mail_spool_directory => "$dir/spool",
    alias_maps => table('hash', "$dir/aliases.src", ''),
    local_recipient_maps => 'unix:passwd.byname $alias_maps',
    recipient_delimiter => '+', owner_request_special => 'no',
    virtual_alias_domains => 'alias.test',
    virtual_alias_maps => texthash("$dir/valias",
        "sales\@alias.test anna\@mx.example, carl\@virt.test, away\@next.test\nloop\@alias.test loop\@alias.test\n"),
    virtual_mailbox_domains => 'virt.test', virtual_mailbox_base => "$dir/virtual",
    virtual_mailbox_maps => texthash("$dir/vbox", "carl\@virt.test carl/\ndora\@virt.test dora\n"),
    virtual_uid_maps => 'static:47003', virtual_gid_maps => 'static:47003',
});
# aliases(5) syntax needs its own option of gatemap.
spew("$dir/aliases.src", "team: anna, bert\nroot: anna\naway: someone\@next.test\ncircle: circle\n");
run_ok('aliases are built', build() . '/sbin/gatemap', '-A', "hash:$dir/aliases.src");
$gp->start;

sub mail_to {
    my ($to, $subject) = @_;
    return $gp->mail('s@client.test', $to,
        "From: s\@client.test\r\nTo: x\r\nSubject: $subject\r\n\r\nFrom here\r\n.\r\nend\r\n");
}

sub files { map { glob "$_/new/*" } @_ }

is(mail_to('anna@mx.example', 'mbox')->{code}, 250, 'for a local user');
# A file may be seen while it is written, a name in tmp while it is moved.
$gp->wait_log(qr/local\[\d+\]: \w+: to=<anna\@mx\.example>, relay=local, .* dsn=2\.0\.0, status=sent \(delivered to mailbox\)$/, 'log');
ok(-s "$dir/spool/anna", 'mbox delivery');
my $mbox = slurp("$dir/spool/anna") // '';
like($mbox, qr/\AFrom s\@client\.test \s*\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}\nReturn-Path: <s\@client\.test>\n/, 'its From_ line');
like($mbox, qr/^Delivered-To: anna\@mx\.example$/m, 'Delivered-To');
like($mbox, qr/^>From here\n\.\nend\n\n\z/m, 'the body, with From quoted and a blank line behind');
is((stat "$dir/spool/anna")[4], $uid{anna}, 'it belongs to the user');

is(mail_to('carl@virt.test', 'virtual')->{code}, 250, 'for a virtual mailbox');
$gp->wait_log(qr/virtual\[\d+\]: \w+: to=<carl\@virt\.test>, relay=virtual, .* status=sent \(delivered to maildir\)$/, 'log');
ok(scalar files("$dir/virtual/carl"), 'Maildir delivery');
my ($file) = files("$dir/virtual/carl");
like(slurp($file), qr/^Delivered-To: carl\@virt\.test\n.*\n\nFrom here\n\.\nend\n\z/ms, 'the content');
is((stat $file)[4], 47003, 'its owner is from the table');
is((stat $file)[2] & 0777, 0600, 'its mode');
is(scalar(() = glob "$dir/virtual/carl/tmp/*"), 0, 'nothing is left in tmp');
is(mail_to('dora@virt.test', 'virtual mbox')->{code}, 250, 'for a virtual mbox');
ok(wait_until(10, sub { -s "$dir/virtual/dora" }), 'mbox delivery');

is(mail_to('sales@alias.test', 'expanded')->{code}, 250, 'for a virtual alias');
ok(wait_until(10, sub { (slurp("$dir/spool/anna") // '') =~ /Subject: expanded/ && files("$dir/virtual/carl") == 2
    && grep { $_->{rcpts}[0] eq 'away@next.test' } $sink->messages }), 'all three have it');
is(mail_to('team@mx.example', 'alias')->{code}, 250, 'for an alias');
ok(wait_until(10, sub { (slurp("$dir/spool/anna") // '') =~ /Subject: alias/ && (slurp("$dir/spool/bert") // '') =~ /Subject: alias/ }),
    'both have it');
is(mail_to('away@mx.example', 'forward')->{code}, 250, 'for an alias elsewhere');
ok(wait_until(10, sub { grep { $_->{rcpts}[0] eq 'someone@next.test' } $sink->messages }), 'forwarded');
is(mail_to('anna+box@mx.example', 'extension')->{code}, 250, 'with an extension');
ok(wait_until(10, sub { (slurp("$dir/spool/anna") // '') =~ /Subject: extension/ }), 'delivered');

my @refused = (['nobody-here@mx.example', qr/^550 5\.1\.1 <nobody-here\@mx\.example>: Recipient address rejected: User unknown in local recipient table/],
    ['nobody@virt.test', qr/^550 5\.1\.1 <nobody\@virt\.test>: Recipient address rejected: User unknown in virtual mailbox table/],
    ['nobody@alias.test', qr/^550 5\.1\.1 <nobody\@alias\.test>: Recipient address rejected: User unknown in virtual alias table/]);
for my $case (@refused) {
    my $r = mail_to($case->[0], 'unknown');
    like($r->{text}, $case->[1], "$case->[0] is refused");
}

# Maildir in the home directory, after a reload.
$gp->set(home_mailbox => 'Maildir/');
$gp->reload;
is(mail_to('bert@mx.example', 'home')->{code}, 250, 'home_mailbox');
ok(wait_until(10, sub { files("$dir/home/bert/Maildir") }), 'a Maildir in the home directory');
ok($gp->drained, 'nothing is left') or diag join "\n", $gp->queue_list;

# A damaged table is an error for now, never "not found"; it is used again when it is replaced.
$gp->set(virtual_mailbox_maps => table('btree', "$dir/damaged", "carl\@virt.test carl/\n"));
$gp->reload;
my ($db) = grep {-e} "$dir/damaged.db", "$dir/damaged";
ok(wait_until(5, sub { mail_to('carl@virt.test', 'before')->{code} == 250 }), 'the indexed table is used');
my $good = slurp($db);
spew($db, substr($good, 0, 512) . ('damage!!' x ((length($good) - 512) / 8)));
ok(wait_until(8, sub { mail_to('carl@virt.test', 'damaged')->{text} =~ /^451 4\.3\.0 / }), 'damaged: 451');
# Another worker may hear of it later.
ok(wait_until(8, sub { mail_to('eve@virt.test', 'damaged')->{text} =~ /^451 4\.3\.0 / }), 'an unknown one too');
spew($db, $good);
ok(wait_until(8, sub { mail_to('carl@virt.test', 'after')->{code} == 250 }), 'replaced: accepted again');
ok($gp->drained, 'nothing is left') or diag join "\n", $gp->queue_list;
# So does what an alias forwards while there is no cleanup.
is(($gp->tool('gatepost', 'service', 'local', 'stop'))[0], 0, 'gatepost service local stop');
$gp->mark;
is(mail_to($_, 'patient')->{code}, 250, "for $_") for qw(away@mx.example anna@mx.example);
is(($gp->tool('gatepost', 'service', @$_))[0], 0, "gatepost service @$_") for ['cleanup', 'stop'], ['local', 'start'];
$gp->wait_log(qr/local\[\d+\]: \w+: to=<anna\@mx\.example>, .* status=sent/, 'local has what came behind it, too');
is(($gp->tool('gatepost', 'service', 'cleanup', 'start'))[0], 0, 'gatepost service cleanup start');
ok(wait_until(10, sub { grep { $_->{content} =~ /^Subject: patient/m } $sink->messages }), 'it is forwarded');
is(scalar(() = $gp->log_lines(qr/to=<away\@mx\.example>, .*status=deferred/)), 0, 'and was not deferred');

# Who asks while nss is away waits for the next one, and not for ever.
for my $case (['away', qr/^451 4\.3\.0 /], ['back', qr/^550 5\.1\.1 /]) {
    my $c = $gp->session;
    $c->cmd('MAIL FROM:<s@client.test>', 250);
    is(($gp->tool('gatepost', 'service', 'nss', 'stop'))[0], 0, 'gatepost service nss stop') if $case->[0] eq 'away';
    $c->send("RCPT TO:<ghost\@mx.example>\r\n");
    is(($gp->tool('gatepost', 'service', 'nss', 'start'))[0], 0, 'gatepost service nss start') if $case->[0] eq 'back';
    like($c->reply->{text}, $case->[1], "a user is looked up, nss is $case->[0]");
    $c->quit;
}
$gp->stop;
done_testing;
